/** Why the demo could not go on; for the person who started it. */
export class DemoFailed extends Error {}

/** An error in one line, with the cause that fetch hides. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
