import { setImmediate } from 'node:timers/promises'

/** How long rows wait for others, ms. */
const gatheringMs = 10
/** The same where an answer waits for them already, and for nothing else. */
const awaitedMs = 5
/** What writing a group takes at most, mostly, ms. */
const writingMs = 5

/**
 * When the next group of rows is due. A statement costs much and a row in it little, so rows gather while no answer waits for them: a group that nobody is in
 * a hurry for begins so long after the one before.
 */
export class Gathering {
  /** performance.now(). */
  #begunAt = Number.NEGATIVE_INFINITY
  #dueAt = Number.POSITIVE_INFINITY
  #look: (() => void) | null = null

  /**
   * An opening came; in so long an answer is likely to wait for it. With no other group shortly before there is nobody to gather with. `undefined`: the answer is
   * there, and waits for its row alone: a breaker's fallback, a shed call, a repetition. Such come in numbers where something is wrong, and the
   * transactions for each would be paid by all others.
   */
  opening(awaitedInMs: number | undefined): void {
    if (awaitedInMs === undefined) this.#endBy(this.#begunAt + awaitedMs)
    else if (awaitedInMs < gatheringMs + writingMs) this.end()
    else this.#endBy(this.#begunAt + gatheringMs)
  }

  /** A row came that no answer will wait for. */
  afterthought(): void {
    this.#endBy(performance.now() + gatheringMs)
  }

  /** Somebody waits for a row: the group is due. */
  end(): void {
    this.#endBy(0)
  }

  /** The group is taken, and what comes makes the next. `isMoreDue`: it did not hold all that was due. */
  begin(isMoreDue: boolean): void {
    this.#begunAt = performance.now()
    this.#dueAt = isMoreDue ? 0 : Number.POSITIVE_INFINITY
  }

  /** Resolves when the group is due. */
  async ended(): Promise<void> {
    let hasWaited = false
    for (let left = this.#left(); left > 0; left = this.#left()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#look = resolve
      const timer = setTimeout(resolve, left)
      await promise
      clearTimeout(timer)
      hasWaited = true
    }
    this.#look = null
    // Rows of calls that end in the same turn of the event loop go into one group.
    if (hasWaited) await setImmediate()
  }

  /** Whole ms: a timer that is set for less comes too soon, and is set again. */
  #left(): number {
    return Math.ceil(this.#dueAt - performance.now())
  }

  #endBy(at: number): void {
    if (at >= this.#dueAt) return
    this.#dueAt = at
    this.#look?.()
  }
}
