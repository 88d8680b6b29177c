import type { ExchangeTimings } from '../storage/schema.ts'

export type Step = Exclude<keyof ExchangeTimings, 'total'>

/** `startedAt`: performance.now(). */
export interface TimedStep {
  readonly step: Step
  readonly startedAt: number
  readonly durationMs: number
}

/** Milliseconds of each step of one exchange, on the monotonic clock. */
export class Stopwatch {
  /** performance.now() when the call arrived. */
  readonly startedAt: number
  readonly #begins: Partial<Record<Step, number>> = {}
  readonly #steps: Record<Step, number | null> = {
    verify: null,
    decrypt: null,
    enrich: null,
    webhook: null,
    encrypt: null,
  }
  #lapAt: number

  constructor(startedAt: number) {
    this.startedAt = startedAt
    this.#lapAt = startedAt
  }

  /** Ends a step that began where the last one ended. */
  lap(step: Step): void {
    const now = performance.now()
    this.#steps[step] = round(now - this.#lapAt)
    this.#begins[step] = this.#lapAt
    this.#lapAt = now
  }

  /** Leaves out what happened since the last step. */
  skip(): void {
    this.#lapAt = performance.now()
  }

  read(): ExchangeTimings {
    return { ...this.#steps, total: round(performance.now() - this.startedAt) }
  }

  /** The steps that were taken. */
  steps(): TimedStep[] {
    const begins = Object.entries(this.#begins) as [Step, number][]
    return begins.map(([step, startedAt]) => ({ step, startedAt, durationMs: this.#steps[step] ?? 0 }))
  }
}

/** Microseconds are as fine as the clock is worth. */
function round(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000
}
