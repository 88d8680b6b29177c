/**
 * A name for this process that people tell it by, unlike that of any other: its pid and six random digits, such as `4711-3fa09c`. Tenants
 * read it too, so it does not hold the machine's name, in which there often is an address of our network: the log has that.
 */
export function nameProcess(): string {
  const random = crypto.getRandomValues(new Uint8Array(3))
  return `${process.pid}-${Buffer.from(random).toString('hex')}`
}
