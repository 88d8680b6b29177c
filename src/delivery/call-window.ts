const bucketMs = 1000
const buckets = 30

/** How many calls ended in the last 30 s and how many of them failed, to the second: two counters a second, no list of calls. */
export class CallWindow {
  readonly #totals = new Uint32Array(buckets)
  readonly #failures = new Uint32Array(buckets)
  /** The newest second that was counted. */
  #second = Number.NEGATIVE_INFINITY

  /** `at`: ms of a monotonic clock. */
  add(at: number, result: 'success' | 'failure'): void {
    const slot = this.#advance(at)
    this.#totals[slot] = (this.#totals[slot] ?? 0) + 1
    if (result === 'failure') this.#failures[slot] = (this.#failures[slot] ?? 0) + 1
  }

  count(at: number): { total: number; failed: number } {
    this.#advance(at)
    const sum = (counters: Uint32Array): number => counters.reduce((a, b) => a + b, 0)
    return { total: sum(this.#totals), failed: sum(this.#failures) }
  }

  clear(): void {
    this.#totals.fill(0)
    this.#failures.fill(0)
  }

  /** Empties the seconds that have passed since the newest and returns the slot of the present one. */
  #advance(at: number): number {
    const second = Math.floor(at / bucketMs)
    const passed = Math.min(buckets, second - this.#second)
    for (let i = 0; i < passed; i++) {
      this.#totals[(second - i) % buckets] = 0
      this.#failures[(second - i) % buckets] = 0
    }
    this.#second = Math.max(this.#second, second)
    return second % buckets
  }
}
