/** Between two looks at how late timers are, ms. */
const everyMs = 20

/**
 * Knows how far the event loop is behind, so that what waited in the kernel is counted as waiting. A timer that fires late tells that the
 * loop was away since its time, and what is read in the same turn may have been there since then.
 */
export class LoopClock {
  readonly #now: () => number
  #timer: NodeJS.Timeout | null = null
  #due = Number.POSITIVE_INFINITY
  /** Since when bytes that are read in this turn may have been there; null: nothing was read in it yet. */
  #turnFrom: number | null = null
  #worstMs = 0

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  start(): void {
    this.#due = this.#now() + everyMs
    this.#timer = setTimeout(() => this.#tick(), everyMs).unref()
  }

  /** What is read from then on came when it is read. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#due = Number.POSITIVE_INFINITY
  }

  /**
   * When the bytes that are handled now came, ms, as far as can be known: at the latest when this turn's first were handled, and where the loop
   * was away before, when it went. Too early by at most the time it was away, never too late by more than one look.
   */
  arrival(): number {
    return this.#turnFrom ?? this.#from(this.#awaySince() ?? this.#now())
  }

  /** The worst delay of a timer since this was last asked, ms. */
  takeWorstMs(): number {
    const worst = this.#worstMs
    this.#worstMs = 0
    return worst
  }

  #tick(): void {
    this.#worstMs = Math.max(this.#worstMs, this.#now() - this.#due)
    const awaySince = this.#awaySince()
    if (awaySince !== null) this.#from(awaySince)
    this.start()
  }

  /** Null: the loop is in time. Timers count in whole milliseconds. */
  #awaySince(): number | null {
    return this.#now() - this.#due > 2 ? this.#due : null
  }

  /** Until the end of the turn: immediates run after all that was read in it. */
  #from(at: number): number {
    this.#turnFrom = at
    setImmediate(() => {
      this.#turnFrom = null
    })
    return at
  }
}
