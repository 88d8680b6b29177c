import { setTimeout as delay } from 'node:timers/promises'
import { isSharedToken } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { type ClosedExchange, type OpenedExchange, writeExchanges } from '../storage/exchanges.ts'

/** Rows of one write at the most: a group must stay one quick statement. */
const groupLimit = 500
/** Rows held in memory at the most, while the database is away. Beyond, the oldest are given up, counted and shouted about. */
const rowLimit = 20_000
const retryMs = { first: 100, last: 2000 }

/** A row to write, and the flow token whose next exchange wants to read it. */
type Entry = { readonly token: string | null } & (
  | { readonly kind: 'opened'; readonly row: OpenedExchange }
  | { readonly kind: 'closed'; readonly row: ClosedExchange }
)

/**
 * Writes exchange rows in groups, off the person's path: what comes while one group is written makes the next. Rows that
 * the database does not take now are kept and tried again, in order.
 */
export class Recorder {
  readonly #database: Database
  readonly #log: Log
  readonly #metrics: Metrics
  readonly #queue: Entry[] = []
  readonly #unwritten = new Map<string, { count: number; readonly none: PromiseWithResolvers<void> }>()
  readonly #stopping = new AbortController()
  #writing: Promise<void> | null = null
  #away = false

  constructor(database: Database, log: Log, metrics: Metrics) {
    this.#database = database
    this.#log = log
    this.#metrics = metrics
  }

  opened(row: OpenedExchange): void {
    this.#add({ kind: 'opened', row, token: tokenName(row.workspaceId, row.flowToken) })
  }

  closed(row: ClosedExchange, flowToken: string | null): void {
    this.#add({ kind: 'closed', row, token: tokenName(row.workspaceId, flowToken) })
  }

  /** Resolves once what was recorded of a flow token can be read; at once while the database is known to be away. */
  async settled(workspaceId: WorkspaceId, flowToken: string): Promise<void> {
    if (!this.#away) await this.#unwritten.get(`${workspaceId} ${flowToken}`)?.none.promise
  }

  /** Writes what is left, for at most `timeoutMs`. Returns how many rows were not written. */
  async close(timeoutMs: number): Promise<number> {
    const timeout = setTimeout(() => this.#stopping.abort(), timeoutMs)
    await this.#writing
    clearTimeout(timeout)
    return this.#queue.length
  }

  #add(entry: Entry): void {
    this.#queue.push(entry)
    if (entry.token !== null) {
      const unwritten = this.#unwritten.get(entry.token)
      if (unwritten === undefined) this.#unwritten.set(entry.token, { count: 1, none: Promise.withResolvers() })
      else unwritten.count++
    }
    if (this.#queue.length > rowLimit) this.#lose(this.#queue.splice(0, groupLimit), 'the queue is full')
    this.#writing ??= this.#run()
  }

  async #run(): Promise<void> {
    // Rows of calls that end in the same turn of the event loop go into one group.
    await new Promise(setImmediate)
    const { signal } = this.#stopping
    let pause = retryMs.first
    while (this.#queue.length > 0 && !signal.aborted) {
      const group = this.#queue.splice(0, groupLimit)
      if (await this.#write(group)) {
        pause = retryMs.first
        this.#settle(group)
      } else {
        this.#queue.unshift(...group)
        await delay(pause, undefined, { signal }).catch(() => undefined)
        pause = Math.min(pause * 2, retryMs.last)
      }
      this.#metrics.rowsWaiting(this.#queue.length)
    }
    this.#writing = null
  }

  /** False when the database could not be asked: the group waits. */
  async #write(group: readonly Entry[]): Promise<boolean> {
    try {
      await this.#insert(group)
      if (this.#away) this.#log.info('the database takes rows again')
      this.#away = false
      return true
    } catch (error) {
      if (!(error instanceof StorageError) || !error.unavailable) return this.#writeSingly(group, error)
      if (!this.#away) this.#log.error({ error }, 'the database takes no rows: exchanges go on, rows wait in memory')
      this.#away = true
      this.#database.renew()
      return false
    }
  }

  /** One row that the database refuses must not take the others with it. */
  async #writeSingly(group: readonly Entry[], cause: unknown): Promise<true> {
    this.#log.error({ error: cause, rows: group.length }, 'a group of rows was refused')
    for (const entry of group) {
      await this.#insert([entry]).catch((error: unknown) => {
        this.#metrics.rowsLost(1)
        this.#log.error({ error, exchangeId: entry.row.id, row: entry.kind }, 'a row was refused and is lost')
      })
    }
    return true
  }

  #insert(group: readonly Entry[]): Promise<void> {
    const opened = group.flatMap((entry) => (entry.kind === 'opened' ? [entry.row] : []))
    const closed = group.flatMap((entry) => (entry.kind === 'closed' ? [entry.row] : []))
    return writeExchanges(this.#database.sql, opened, closed)
  }

  #lose(entries: readonly Entry[], reason: string): void {
    this.#metrics.rowsLost(entries.length)
    this.#log.error({ reason, rows: entries.length }, 'rows are lost')
    this.#settle(entries)
  }

  #settle(entries: readonly Entry[]): void {
    for (const { token } of entries) {
      const unwritten = token === null ? undefined : this.#unwritten.get(token)
      if (token === null || unwritten === undefined || --unwritten.count > 0) continue
      this.#unwritten.delete(token)
      unwritten.none.resolve()
    }
  }
}

function tokenName(workspaceId: WorkspaceId, flowToken: string | null): string | null {
  return flowToken === null || isSharedToken(flowToken) ? null : `${workspaceId} ${flowToken}`
}
