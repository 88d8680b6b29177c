const slotMs = 100
/** 30 s: contract.md §3 "Breaker and bounds". */
const slots = 300

/** How many calls ended in the last 30 s, to a tenth of a second, and how many of them failed: two counters for each tenth, no list of calls. */
export class CallWindow {
  // 65,535 calls would have to end within 100 ms to overflow one; 64 at once are let through.
  readonly #totals = new Uint16Array(slots)
  readonly #failures = new Uint16Array(slots)
  #total = 0
  #failed = 0
  /** The newest tenth of a second that was counted. */
  #newest = Number.NEGATIVE_INFINITY

  /** `at`: ms of a monotonic clock. Returns the counts with this call. */
  add(at: number, result: 'success' | 'failure'): { total: number; failed: number } {
    const slot = this.#advance(at)
    this.#totals[slot] = (this.#totals[slot] ?? 0) + 1
    this.#total += 1
    if (result === 'failure') {
      this.#failures[slot] = (this.#failures[slot] ?? 0) + 1
      this.#failed += 1
    }
    return { total: this.#total, failed: this.#failed }
  }

  /** Empties the slots of the time that has passed since the newest, and returns the present one. */
  #advance(at: number): number {
    const present = Math.floor(at / slotMs)
    const passed = Math.min(slots, present - this.#newest)
    for (let i = 0; i < passed; i++) {
      const slot = (present - i) % slots
      this.#total -= this.#totals[slot] ?? 0
      this.#failed -= this.#failures[slot] ?? 0
      this.#totals[slot] = 0
      this.#failures[slot] = 0
    }
    this.#newest = Math.max(this.#newest, present)
    return present % slots
  }
}
