import { mostWaiting } from '../domain/delivery.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { storageOn } from '../storage/backends.ts'
import type { Database } from '../storage/database.ts'

const recountMs = 1000
/** More than a second of a busy webhook's. */
const longFrom = 500

interface Waiting {
  readonly workspaceId: WorkspaceId
  /** As last counted. */
  counted: number
  /** What this process added since. */
  added: number
}

/**
 * How many deliveries wait for each webhook, so that there are never many more than 50,000 (contract.md §4). An exchange must not wait
 * for a count of 50,000 rows, so webhooks to which something was added are counted beside it, once a second; between two counts this
 * process knows what it added itself. What others add within that second may come on top.
 */
export class Backlog {
  readonly #database: Database
  readonly #log: Log
  readonly #metrics: Pick<Metrics, 'deliveryExhausted'>
  readonly #webhooks = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | null = null
  #counting: Promise<void> = Promise.resolve()

  constructor(database: Database, log: Log, metrics: Pick<Metrics, 'deliveryExhausted'>) {
    this.#database = database
    this.#log = log
    this.#metrics = metrics
  }

  /** Whether one more delivery may wait for this webhook. It is counted. */
  admit(workspaceId: WorkspaceId, webhookId: string): boolean {
    const waiting = this.#webhooks.get(webhookId) ?? { workspaceId, counted: 0, added: 0 }
    this.#webhooks.set(webhookId, waiting)
    this.#timer ??= setTimeout(() => this.#recount(), recountMs).unref()
    if (waiting.counted + waiting.added >= mostWaiting) {
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
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#counting
  }

  #recount(): void {
    this.#counting = this.#count().finally(() => {
      this.#timer = this.#webhooks.size === 0 ? null : setTimeout(() => this.#recount(), recountMs).unref()
    })
  }

  async #count(): Promise<void> {
    const counting = [...this.#webhooks].map(([webhookId, waiting]) => ({ webhookId, waiting, added: waiting.added }))
    try {
      const webhooks = counting.map(({ webhookId, waiting: { workspaceId } }) => ({ workspaceId, webhookId }))
      const { work, backend } = this.#database
      const counts = await storageOn(backend).countWaiting(work, webhooks, mostWaiting)
      for (const { webhookId, waiting, added } of counting) {
        waiting.counted = counts.get(webhookId) ?? 0
        waiting.added -= added
        // Whoever has nothing waiting is counted anew when something comes.
        if (waiting.counted + waiting.added === 0) this.#webhooks.delete(webhookId)
      }
    } catch (error) {
      this.#log.debug({ error }, 'waiting deliveries not counted')
    }
  }
}
