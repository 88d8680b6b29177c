import { setImmediate } from 'node:timers/promises'
import type { Row } from './row.ts'

/** With fewer exchanges under way an opening has no others to wait for. */
const company = 3

/**
 * When the next group of rows is due. A statement costs much and a row in it little, so rows gather; but an answer that waits for its row does not wait for
 * others' besides. Most webhooks take longer than rows gather: their answers wait for nothing.
 */
export class Gathering {
  readonly #patienceMs: number
  #underWay = 0
  /** performance.now(). */
  #dueAt = Number.POSITIVE_INFINITY
  #look: (() => void) | null = null

  /** `patienceMs`: how long a row that no answer waits for yet waits for others. */
  constructor(patienceMs = 10) {
    this.#patienceMs = patienceMs
  }

  /** A row came. */
  add(kind: Row['kind']): void {
    if (kind === 'opened') this.#underWay++
    if (kind === 'closed') this.#underWay--
    if (kind === 'opened' && this.#underWay < company) this.end()
    else this.#endBy(performance.now() + this.#patienceMs)
  }

  /** Somebody waits for a row: the group is due. */
  end(): void {
    this.#endBy(0)
  }

  /** The group is taken, and what comes makes the next. `isMoreDue`: it did not hold all that was due. */
  begin(isMoreDue: boolean): void {
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

  #left(): number {
    return this.#dueAt - performance.now()
  }

  #endBy(at: number): void {
    if (at >= this.#dueAt) return
    this.#dueAt = at
    this.#look?.()
  }
}
