import { setTimeout as delay } from 'node:timers/promises'

/** Between two looks at the queue, ms: while there is work, when there is none, and when the database could not be asked. */
export const pauseMs = { busy: 25, idle: 250, failed: 1000 }

/** Looks again and again: soon when something was found, seldom when not, at once when woken. */
export class PacedLook {
  readonly #take: () => Promise<number | null>
  readonly #signal: AbortSignal
  #wake = Promise.withResolvers<void>()

  /** `take`: how many were found; null when it could not be asked. Never rejects. */
  constructor(take: () => Promise<number | null>, signal: AbortSignal) {
    this.#take = take
    this.#signal = signal
    // One listener for good: signals made of this one with AbortSignal.any, one for each sleep, are never all let go of.
    signal.addEventListener('abort', () => this.wake(), { once: true })
  }

  wake(): void {
    this.#wake.resolve()
  }

  /** Until the signal. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      this.#wake = Promise.withResolvers()
      const startedAt = performance.now()
      const found = await this.#take()
      // A look past a long queue that finds nothing is long, and must not be all that the database does. One that failed was long for want of an answer.
      const restShare = found === null ? 0 : found === 0 ? 3 : 0.5
      const rest = restShare * (performance.now() - startedAt)
      await delay(Math.max(pauseMs.busy, rest), undefined, { signal: this.#signal }).catch(() => undefined)
      if (found === 0) await this.#sleep(pauseMs.idle)
      else if (found === null) await this.#sleep(pauseMs.failed)
    }
  }

  /** Until it is woken, at most so long. */
  async #sleep(ms: number): Promise<void> {
    const timer = setTimeout(() => this.wake(), ms)
    await this.#wake.promise
    clearTimeout(timer)
  }
}
