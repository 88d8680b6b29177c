import { setTimeout as delay } from 'node:timers/promises'

/** Waits for work, at most so long. Never rejects. */
export async function within(milliseconds: number, work: Promise<unknown> | null): Promise<void> {
  const ended = new AbortController()
  const timeout = delay(milliseconds, undefined, { signal: ended.signal }).catch(() => undefined)
  await Promise.race([work?.catch(() => undefined), timeout])
  ended.abort()
}
