/** What the user of the simulator gave cannot be used. The message is one line and names the option or member. */
export class BadInput extends Error {
  override name = 'BadInput'
}
