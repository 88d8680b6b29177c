import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { type Enqueue, replayExchanges, writeExchanges } from '../storage/exchanges.ts'
import { groupOf, type Row } from './row.ts'

/** Writes groups of rows to the database and knows whether it takes them. */
export class RowWriter {
  readonly #database: Database
  readonly #log: Log
  readonly #metrics: Metrics
  readonly #enqueue: Enqueue
  readonly #told: () => void
  #away = false

  /** `told` is called when deliveries were written. */
  constructor(database: Database, enqueue: Enqueue, told: () => void, log: Log, metrics: Metrics) {
    this.#database = database
    this.#enqueue = enqueue
    this.#told = told
    this.#log = log
    this.#metrics = metrics
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
      const sqlState = error instanceof StorageError ? error.sqlState : null
      if (!this.#away) {
        this.#log.error({ error, sqlState }, 'the database takes no rows: exchanges go on, rows go to the disk')
      }
      this.#away = true
      this.#database.renew()
      return false
    }
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
    const write = isReplay ? replayExchanges : writeExchanges
    const group = groupOf(rows)
    await write(this.#database.sql, group, this.#enqueue)
    if (group.deliveries.length > 0) this.#told()
  }
}

/** A database that lacks a table or column (class 42) is not this release's: that is no fault of the rows. */
function isRefusal(error: unknown): boolean {
  return !(error instanceof StorageError) || !(error.unavailable || error.sqlState?.startsWith('42'))
}
