import { mostWaiting } from '../domain/delivery.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { storageOn } from '../storage/backends.ts'
import { type Database, StorageError } from '../storage/database.ts'

/** More than a second of a busy webhook's. */
const longFrom = 500
/** Of webhooks with few waiting, counted in one statement. */
const mostTogether = 100

export interface BacklogTimes {
  /** Between two counts, ms. */
  readonly recountMs: number
  /** Until a webhook is counted again that has 50,000, or whose count failed, ms; sooner for fewer, because a count reads as many rows. */
  readonly longRecountMs: number
  /** When the database ends a count, ms. */
  readonly countMs: number
}
const defaultTimes: BacklogTimes = { recountMs: 1000, longRecountMs: 10_000, countMs: 4000 }

interface Waiting {
  readonly workspaceId: WorkspaceId
  readonly webhookId: string
  /** As last counted. */
  counted: number
  /** What this process added since. */
  added: number
  /** Not to be counted before, `performance.now()`. */
  dueAt: number
  /** Its last count failed, which may have been another's fault. */
  hasFailed: boolean
}

/**
 * How many deliveries wait for each webhook, so that there are never many more than 50,000 (contract.md §4). An exchange must not wait
 * for a count of 50,000 rows, so webhooks to which something was added are counted beside it, once a second; between two counts this
 * process knows what it added itself. What others add within that second may come on top. Webhooks with many waiting are counted
 * one by one, so that a count which takes too long is nobody else's.
 */
export class Backlog {
  readonly #database: Database
  readonly #log: Log
  readonly #metrics: Pick<Metrics, 'deliveryExhausted'>
  readonly #times: BacklogTimes
  readonly #webhooks = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | null = null
  #counting: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(database: Database, log: Log, metrics: Pick<Metrics, 'deliveryExhausted'>, times = defaultTimes) {
    this.#database = database
    this.#log = log
    this.#metrics = metrics
    this.#times = times
  }

  /** Whether one more delivery may wait for this webhook. It is counted. */
  admit(workspaceId: WorkspaceId, webhookId: string): boolean {
    const waiting = this.#webhooks.get(webhookId) ?? started(workspaceId, webhookId)
    this.#webhooks.set(webhookId, waiting)
    this.#plan()
    if (waiting.counted + waiting.added >= mostWaiting) {
      // What was added may have ended since: the next count tells.
      if (waiting.counted < mostWaiting && !waiting.hasFailed) waiting.dueAt = 0
      this.#metrics.deliveryExhausted('queue_full')
      return false
    }
    waiting.added++
    return true
  }

  /** Whether so many wait for this webhook that its new ones stand behind those of others. */
  isLong(webhookId: string): boolean {
    const waiting = this.#webhooks.get(webhookId)
    return waiting !== undefined && waiting.counted >= longFrom
  }

  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#counting
  }

  #plan(): void {
    this.#timer ??= setTimeout(() => this.#recount(), this.#times.recountMs).unref()
  }

  #recount(): void {
    this.#counting = this.#countDue().finally(() => {
      this.#timer = null
      if (this.#webhooks.size > 0 && !this.#isClosed) this.#plan()
    })
  }

  async #countDue(): Promise<void> {
    const now = performance.now()
    const due = [...this.#webhooks.values()].filter(({ dueAt }) => dueAt <= now)
    for (const group of groupsOf(due)) {
      if (this.#isClosed || !(await this.#count(group))) return
    }
  }

  /** False when the database could not be asked. Never throws. */
  async #count(group: readonly Waiting[]): Promise<boolean> {
    const before = group.map((waiting) => ({ waiting, added: waiting.added }))
    const { longRecountMs, countMs } = this.#times
    try {
      const { work, backend } = this.#database
      const counts = await storageOn(backend).countWaiting(work, group, mostWaiting, countMs)
      for (const { waiting, added } of before) {
        waiting.counted = counts.get(waiting.webhookId) ?? 0
        waiting.added -= added
        waiting.hasFailed = false
        waiting.dueAt = performance.now() + longRecountMs * (waiting.counted / mostWaiting)
        // Whoever has nothing waiting is counted anew when something comes.
        if (waiting.counted + waiting.added === 0) this.#webhooks.delete(waiting.webhookId)
      }
      return true
    } catch (error) {
      const isAway = error instanceof StorageError && error.unavailable
      for (const { waiting, added } of before) {
        waiting.hasFailed = true
        waiting.dueAt = performance.now() + longRecountMs
        // While the database is away, what was added waits. While it only takes too long to count, that may have been delivered.
        if (!isAway) waiting.added -= added
      }
      const webhookId = group.length === 1 ? group[0]?.webhookId : undefined
      this.#log[isAway ? 'debug' : 'warn'](
        { error, webhookId, webhooks: group.length },
        'waiting deliveries not counted',
      )
      return !isAway
    }
  }
}

const started = (workspaceId: WorkspaceId, webhookId: string): Waiting => ({
  workspaceId,
  webhookId,
  counted: 0,
  added: 0,
  dueAt: 0,
  hasFailed: false,
})

/** Those that may take long each alone, and last. */
function groupsOf(due: readonly Waiting[]): Waiting[][] {
  const isAlone = ({ counted, hasFailed }: Waiting) => hasFailed || counted >= longFrom
  const together = due.filter((waiting) => !isAlone(waiting))
  const groups = Array.from({ length: Math.ceil(together.length / mostTogether) }, (_, index) =>
    together.slice(index * mostTogether, (index + 1) * mostTogether),
  )
  return [...groups, ...due.filter(isAlone).map((waiting) => [waiting])]
}
