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
  /** `safe`: on a disk, or counted as lost. `unawaited`: not so, but its answer is out. */
  state: 'waiting' | 'unawaited' | 'safe'
}

export function entryOf(row: Row, token: string | null, patienceMs: number): Entry {
  const now = performance.now()
  return {
    ...row,
    token,
    weight: weightOf(row),
    dueAt: now + patienceMs,
    halfAt: now + patienceMs / 2,
    recorded: Promise.withResolvers(),
    state: 'waiting',
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
    for (const { weight } of entries) this.#weight += weight.kept
  }

  /** The next group, without rows that became safe while they waited. */
  take(): Entry[] {
    const taken = this.#entries.splice(0, lengthOfGroup(this.#entries))
    for (const { weight } of taken) this.#weight -= weight.kept
    return taken.filter(({ state }) => state !== 'safe')
  }

  /** Takes the oldest rows of the workspace that has most: others are not to pay for it. */
  takeHeaviest(): Entry[] {
    const weights = new Map<string, number>()
    for (const { row, weight } of this.#entries) {
      weights.set(row.workspaceId, (weights.get(row.workspaceId) ?? 0) + weight.kept)
    }
    const [heaviest] = [...weights].reduce((most, one) => (one[1] > most[1] ? one : most), ['', -1])
    const theirs = this.#entries.filter(({ row }) => row.workspaceId === heaviest)
    const taken = new Set(theirs.slice(0, lengthOfGroup(theirs)))
    this.#entries = this.#entries.filter((entry) => !taken.has(entry))
    for (const { weight } of taken) this.#weight -= weight.kept
    return [...taken].filter(({ state }) => state !== 'safe')
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
