import type { Gathering } from './gathering.ts'
import { type Row, weightOf } from './row.ts'

/** A group must stay one quick statement. */
export const groupLimits = { rows: 500, bytes: 4 * 1024 * 1024 }

/** A row on its way, and who waits for it. */
export type Entry = Row & {
  /** The flow token whose next exchange wants to read it. */
  readonly token: string | null
  readonly weight: ReturnType<typeof weightOf>
  /** performance.now() until which the database alone may acknowledge it, and half-way to there. */
  readonly dueAt: number
  readonly halfAt: number
  /** Resolves when the answer need not wait for it any more. */
  readonly recorded: PromiseWithResolvers<void>
  /** Not in a group yet. */
  isQueued: boolean
  /** `safe`: on a disk, or counted as lost. `unawaited`: not so, but its answer is out. */
  state: 'waiting' | 'unawaited' | 'safe'
}

/** `counted`: envelopes that other rows hold as well and were weighed with; those of this row join them. */
export function entryOf(row: Row, token: string | null, patienceMs: number, counted?: Set<unknown>): Entry {
  const now = performance.now()
  return {
    ...row,
    token,
    weight: weightOf(row, counted),
    dueAt: now + patienceMs,
    halfAt: now + patienceMs / 2,
    recorded: Promise.withResolvers(),
    isQueued: true,
    state: 'waiting',
  }
}

/** How an opening's answer will wait for it. */
export interface Wait {
  /** Until the exchange's deadline, ms, if that is sooner than the 200 ms of contract.md §8. */
  readonly patienceMs?: number
  /** In how many ms the answer is likely to be there; absent: it is, and waits for the row alone. */
  readonly awaitedInMs?: number | undefined
}

/** What was recorded, in one row or several. */
export class Recording {
  readonly #entries: readonly Entry[]
  readonly #gathering: Pick<Gathering, 'end'>

  constructor(entries: readonly Entry[], gathering: Pick<Gathering, 'end'>) {
    this.#entries = entries
    this.#gathering = gathering
  }

  /**
   * Resolves once it is on a disk, the database's or our own; also when neither takes it: an answer must not wait longer. `isHurried`: what still gathers is
   * written. Never rejects.
   */
  async onDisk(isHurried = true): Promise<void> {
    if (isHurried && this.#entries.some(({ isQueued }) => isQueued)) this.#gathering.end()
    for (const { recorded } of this.#entries) await recorded.promise
  }
}

/** Lets the answer go that waits for a row. */
export function letGo(entry: Entry): void {
  if (entry.state === 'waiting') entry.state = 'unawaited'
  entry.recorded.resolve()
}

/**
 * Which rows wait too long: `isSlow` for half of their time, `isLate` for all of it; answers that have waited `diskPatienceMs` more are let go. `next`: when
 * to look again, performance.now().
 */
export function lookAt(
  entries: readonly Entry[],
  now: number,
  diskPatienceMs: number,
): { readonly next: number; readonly isSlow: boolean; readonly isLate: boolean } {
  let [next, isSlow, isLate] = [Number.POSITIVE_INFINITY, false, false]
  for (const entry of entries) {
    if (entry.state !== 'waiting') continue
    const steps = [entry.halfAt, entry.dueAt, entry.dueAt + diskPatienceMs]
    next = Math.min(next, steps.find((step) => step > now) ?? next)
    if (now >= entry.halfAt) isSlow = true
    if (now >= entry.dueAt) isLate = true
    if (now >= entry.dueAt + diskPatienceMs) letGo(entry)
  }
  return { next, isSlow, isLate }
}

/** Rows in order, taken in groups. */
export class RowQueue {
  #entries: Entry[] = []
  #weight = 0

  get length(): number {
    return this.#entries.length
  }

  /** Of all rows in memory, bytes. */
  get weight(): number {
    return this.#weight
  }

  /** In order. */
  get entries(): readonly Entry[] {
    return this.#entries
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#weight += entry.weight.kept
  }

  /** Before all others. */
  putBack(entries: readonly Entry[]): void {
    if (entries.length === 0) return
    this.#entries = [...entries, ...this.#entries]
    for (const entry of entries) {
      entry.isQueued = true
      this.#weight += entry.weight.kept
    }
  }

  /** The next group, without rows that became safe while they waited. */
  take(): Entry[] {
    const taken = this.#entries.splice(0, lengthOfGroup(this.#entries))
    for (const entry of taken) {
      entry.isQueued = false
      this.#weight -= entry.weight.kept
    }
    return taken.filter(({ state }) => state !== 'safe')
  }

  /** Takes what weighs more than `limit`: the oldest rows of the workspaces that have most, as others are not to pay for them. */
  trimTo(limit: number): Entry[] {
    const excess = this.#weight - limit
    if (excess <= 0) return []
    // And one group more: to look through all for each row would take its time.
    const cuts = this.#cutsOf(excess + groupLimits.bytes)
    const taken: Entry[] = []
    this.#entries = this.#entries.filter((entry) => {
      const { row, weight, state } = entry
      const left = cuts.get(row.workspaceId) ?? 0
      if (left <= 0) return true
      cuts.set(row.workspaceId, left - weight.kept)
      this.#weight -= weight.kept
      if (state !== 'safe') taken.push(entry)
      return false
    })
    return taken
  }

  /** What each workspace gives up, bytes: step by step whichever has most then. */
  #cutsOf(bytes: number): Map<string, number> {
    const weights = new Map<string, number>()
    for (const { row, weight } of this.#entries) {
      weights.set(row.workspaceId, (weights.get(row.workspaceId) ?? 0) + weight.kept)
    }
    const cuts = new Map<string, number>()
    for (let left = bytes; left > 0 && weights.size > 0; ) {
      const [heaviest, weight] = [...weights].reduce((most, one) => (one[1] > most[1] ? one : most))
      const cut = Math.min(weight, left, groupLimits.bytes)
      if (cut === weight) weights.delete(heaviest)
      else weights.set(heaviest, weight - cut)
      cuts.set(heaviest, (cuts.get(heaviest) ?? 0) + cut)
      left -= cut
    }
    return cuts
  }
}

/** How many of the first rows make one group; one at least. */
export function lengthOfGroup(rows: readonly { readonly weight: Pick<Entry['weight'], 'written'> }[]): number {
  let bytes = 0
  let count = 0
  for (const { weight } of rows) {
    if (count > 0 && (count === groupLimits.rows || bytes + weight.written > groupLimits.bytes)) break
    bytes += weight.written
    count++
  }
  return count
}
