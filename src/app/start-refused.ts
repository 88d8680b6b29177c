/** A start that cannot be; the message is one line for the operator. */
export class StartRefused extends Error {}
