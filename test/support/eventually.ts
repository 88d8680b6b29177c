import { setTimeout as pause } from 'node:timers/promises'

/**
 * Awaits a condition instead of a time: calls `check` until it returns something other than false, null or undefined
 * without throwing, and returns that. Past the deadline it fails with the last error, or says that nothing came.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<Exclude<T, false | null | undefined>> {
  const { timeoutMs = 5_000, everyMs = 10 } = options
  const endsAt = performance.now() + timeoutMs
  while (true) {
    const isLast = performance.now() >= endsAt
    try {
      const found = await check()
      if (found !== false && found !== null && found !== undefined) {
        return found as Exclude<T, false | null | undefined>
      }
    } catch (error) {
      if (isLast) throw error
    }
    if (isLast) throw new Error(`the condition did not hold within ${timeoutMs} ms: ${check}`)
    await pause(everyMs)
  }
}
