import type { ExchangeTimings } from '../storage/schema.ts'

export type Step = Exclude<keyof ExchangeTimings, 'total'>

/** Milliseconds of each step of one exchange, on the monotonic clock. */
export class Stopwatch {
  readonly #startedAt: number
  readonly #steps: Record<Step, number | null> = {
    verify: null,
    decrypt: null,
    enrich: null,
    webhook: null,
    encrypt: null,
  }
  #lapAt: number

  /** `startedAt`: performance.now() when the call arrived. */
  constructor(startedAt: number) {
    this.#startedAt = startedAt
    this.#lapAt = startedAt
  }

  /** Ends a step that began where the last one ended. */
  lap(step: Step): void {
    const now = performance.now()
    this.#steps[step] = round(now - this.#lapAt)
    this.#lapAt = now
  }

  /** Leaves out what happened since the last step. */
  skip(): void {
    this.#lapAt = performance.now()
  }

  read(): ExchangeTimings {
    return { ...this.#steps, total: round(performance.now() - this.#startedAt) }
  }
}

/** Microseconds are as fine as the clock is worth. */
function round(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000
}
