/**
 * Does `step` for each, one after the other, and goes on past those that fail, so that none holds up all behind it. Ends early once `signal`
 * says so. Throws what the first that failed threw, when all others are done.
 */
export async function eachPastFailures<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
  step: (item: Item) => Promise<unknown>,
  signal?: AbortSignal,
): Promise<void> {
  const failures: unknown[] = []
  for await (const item of items) {
    if (signal?.aborted) break
    try {
      await step(item)
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}
