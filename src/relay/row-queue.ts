import { type Row, weightOf } from './row.ts'

/** A group must stay one quick statement. */
export const groupLimits = { rows: 500, bytes: 4 * 1024 * 1024 }

/** A row on its way, and who waits for it. */
export type Entry = Row & {
  /** The flow token whose next exchange wants to read it. */
  readonly token: string | null
  readonly weight: number
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

/** Rows in order, taken in groups. */
export class RowQueue {
  #entries: Entry[] = []
  #weight = 0

  get length(): number {
    return this.#entries.length
  }

  /** Of all rows, bytes. */
  get weight(): number {
    return this.#weight
  }

  /** In order. */
  get entries(): readonly Entry[] {
    return this.#entries
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#weight += entry.weight
  }

  /** Before all others. */
  putBack(entries: readonly Entry[]): void {
    if (entries.length === 0) return
    this.#entries = [...entries, ...this.#entries]
    for (const { weight } of entries) this.#weight += weight
  }

  /** The next group, without rows that became safe while they waited. */
  take(): Entry[] {
    let bytes = 0
    let count = 0
    for (const { weight } of this.#entries) {
      if (count > 0 && (count === groupLimits.rows || bytes + weight > groupLimits.bytes)) break
      bytes += weight
      count++
    }
    this.#weight -= bytes
    return this.#entries.splice(0, count).filter(({ state }) => state !== 'safe')
  }
}
