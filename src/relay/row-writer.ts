import { enqueue } from '../events/announcement.ts'
import type { Backlog } from '../events/backlog.ts'
import type { HeldDeliveries } from '../events/delivery-worker.ts'
import type { Queue } from '../events/queue.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { storageOn } from '../storage/backends.ts'
import { type Database, StorageError, storing } from '../storage/database.ts'
import { defaultBounds } from '../storage/default-partition.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { ExchangeGroup } from '../storage/exchanges.ts'
import { groupOf, type Row } from './row.ts'

export interface RowWriterParts {
  readonly database: Database
  readonly queue: Queue
  readonly backlog: Backlog
  /** Who makes the attempts of deliveries in this process. */
  readonly attempts: { hold(deliveries: readonly NewDelivery[]): HeldDeliveries; wake(): void }
  readonly log: Log
  readonly metrics: Metrics
}

/** How long a database that answers may take to say so, ms. */
const askMs = 1000

/** Writes groups of rows to the database and knows whether it takes them. */
export class RowWriter {
  readonly #parts: RowWriterParts
  readonly #database: Database
  readonly #log: Log
  readonly #metrics: Metrics
  #away = false

  constructor(parts: RowWriterParts) {
    this.#parts = parts
    this.#database = parts.database
    this.#log = parts.log
    this.#metrics = parts.metrics
  }

  /** Whether the last write found no database. */
  get away(): boolean {
    return this.#away
  }

  /** False when the database could not be asked: the rows are not written, and may be written again. Never throws. */
  async write(rows: readonly Row[], isReplay: boolean): Promise<boolean> {
    if (rows.length === 0) return true
    try {
      await this.#insert(rows, isReplay)
      if (this.#away) this.#log.info('the database takes rows again')
      this.#away = false
      return true
    } catch (error) {
      if (isRefusal(error)) return this.#writeSingly(rows, isReplay, error)
      if (!this.#away) this.#log.error({ error }, 'the database takes no rows: exchanges go on, rows go to the disk')
      this.#away = true
      if (await this.#isGone(error)) this.#database.renew()
      return false
    }
  }

  /** Whether the database is, as far as an error tells: a group that takes too long may wait for somebody's rows, and then other connections answer. */
  async #isGone(error: unknown): Promise<boolean> {
    if (!(error instanceof StorageError && error.unavailable)) return false
    if (error.code !== 'timeout') return true
    const ask = () => this.#database.sql`select 1`
    return storing('ask whether the database answers', ask, askMs).then(
      () => false,
      () => true,
    )
  }

  /** One row that the database refuses must not take the others with it. */
  async #writeSingly(rows: readonly Row[], isReplay: boolean, cause: unknown): Promise<boolean> {
    this.#log.error({ error: cause, rows: rows.length }, 'a group of rows was refused')
    for (const row of rows) {
      try {
        await this.#insert([row], isReplay)
      } catch (error) {
        // Gone half-way: what is written already is written over itself.
        if (!isRefusal(error)) return false
        this.#metrics.rowsLost(1)
        this.#log.error({ error, exchangeId: row.row.id, row: row.kind }, 'a row was refused and is lost')
      }
    }
    return true
  }

  async #insert(rows: readonly Row[], isReplay: boolean): Promise<void> {
    const { sql, backend } = this.#database
    const group = groupOf(rows)
    if (isReplay) {
      // Some may be written, and delivered, already: what is attempted comes out of the queue, which looks at the row first.
      await storageOn(backend).replayExchanges(sql, group, (tx, deliveries) => enqueue(this.#parts, tx, deliveries))
      if (group.deliveries.length > 0) this.#parts.attempts.wake()
    } else {
      await this.#insertNew(group)
    }
  }

  async #insertNew(group: ExchangeGroup): Promise<void> {
    const { attempts } = this.#parts
    const { sql, backend } = this.#database
    const held = attempts.hold(group.deliveries)
    try {
      await storageOn(backend).writeExchanges(sql, group, (tx, deliveries) =>
        enqueue(this.#parts, tx, deliveries, held.ids),
      )
    } catch (error) {
      held.release()
      throw error
    }
    held.start()
    if (held.ids.size < group.deliveries.length) attempts.wake()
  }
}

/**
 * Whether a row is at fault: a value that does not fit, a constraint, too much at once. Any other word of the database's (a statement that was
 * cancelled, a lock not to be had, a disk, a table of another release) passes, or somebody has to see to it, and rows must not be lost by it.
 */
export function isRefusal(error: unknown): boolean {
  // It stands for a moment: on a shard of Citus with a number behind it.
  if (error instanceof StorageError && error.constraint?.startsWith(defaultBounds)) return false
  return !(error instanceof StorageError) || (!error.unavailable && /^(21|22|23|44|54)/.test(error.sqlState ?? ''))
}
