import type { Gatekeeper, OpenBreaker } from '../delivery/gatekeeper.ts'
import type { Log } from '../ops/logger.ts'
import { within } from '../ops/within.ts'
import { type Database, StorageError } from '../storage/database.ts'
import {
  type BreakerRow,
  heartbeatMs,
  removeBreakers,
  type WebhookKey,
  writeBreakers,
} from '../storage/webhook-breakers.ts'

export interface BreakerStatesParts {
  readonly database: Database
  readonly gatekeeper: Pick<Gatekeeper, 'open'>
  readonly log: Log
  readonly processName: string
  /** The gatekeeper's clock, in ms. */
  readonly now: () => number
  readonly times?: BreakerStatesTimes
}

export interface BreakerStatesTimes {
  /** After a change, ms: what changes together is written together. */
  readonly soonMs: number
  /** While a breaker is not closed, or could not be written, ms: an open one is half open after a time, without a call. */
  readonly everyMs: number
  readonly heartbeatMs: number
}
const defaultTimes: BreakerStatesTimes = { soonMs: 50, everyMs: 1000, heartbeatMs }
/** Rows of one statement. */
const chunkRows = 500
/** How long an end waits for the database, ms. Rows that stay are of a process that is not heard of any more. */
const closeMs = 2000

/** What the database has of a breaker, as far as is known. */
interface Written {
  readonly row: BreakerRow
  readonly sinceMs: number
  /** False while a write of it is under way or went wrong: the database may have either. */
  isSure: boolean
}

/**
 * Keeps the table of breakers that are not closed like this process's own. No exchange waits for it, and there is no queue: each time what is in
 * the table is compared with what is so now, and the difference is written. While the database is away, nothing adds up but the webhooks to look at.
 */
export class BreakerStates {
  readonly #parts: BreakerStatesParts
  readonly #now: () => number
  readonly #times: BreakerStatesTimes
  readonly #written = new Map<string, Written>()
  #heartbeatAt = 0
  #timer: NodeJS.Timeout | null = null
  #dueAt = 0
  #writing: Promise<void> | null = null
  #isWokenMeanwhile = false
  #isClosed = false

  constructor(parts: BreakerStatesParts) {
    this.#parts = parts
    this.#now = parts.now
    this.#times = parts.times ?? defaultTimes
  }

  /** A breaker changed. Cheap: an exchange waits. */
  changed(): void {
    this.#wakeIn(this.#times.soonMs)
  }

  /** Takes back all that this process said. Never throws. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await within(closeMs, this.#takeBack())
  }

  async #takeBack(): Promise<void> {
    await this.#writing
    await this.#remove([...this.#written.values()])
  }

  #wakeIn(ms: number): void {
    const dueAt = performance.now() + ms
    if (this.#isClosed || (this.#timer !== null && this.#dueAt <= dueAt)) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#dueAt = dueAt
    this.#timer = setTimeout(() => this.#wake(), ms).unref()
  }

  #wake(): void {
    this.#timer = null
    // A write under way has read what is open before this.
    this.#isWokenMeanwhile = this.#writing !== null
    this.#writing ??= this.#write().finally(() => {
      this.#writing = null
      if (this.#isWokenMeanwhile) this.#wakeIn(this.#times.soonMs)
      else if (this.#written.size > 0) this.#wakeIn(this.#times.everyMs)
    })
  }

  /** Never rejects. */
  async #write(): Promise<void> {
    try {
      const open = this.#parts.gatekeeper.open()
      const isHeartbeat = performance.now() - this.#heartbeatAt >= this.#times.heartbeatMs
      const news = open.filter((breaker) => isHeartbeat || !this.#isWritten(breaker)).map((it) => this.#take(it))
      const openIds = new Set(open.map(({ webhookId }) => webhookId))
      await this.#insert(news)
      if (isHeartbeat) this.#heartbeatAt = performance.now()
      await this.#remove([...this.#written.values()].filter(({ row }) => !openIds.has(row.webhookId)))
    } catch (error) {
      if (error instanceof StorageError && error.unavailable) this.#parts.database.renew()
      this.#parts.log.debug({ error }, 'states of breakers not written: tried again')
    }
  }

  #isWritten({ webhookId, state, sinceMs }: OpenBreaker): boolean {
    const written = this.#written.get(webhookId)
    return written?.isSure === true && written.row.state === state && written.sinceMs === sinceMs
  }

  /** What is to be written of a breaker; from now on the database may have it. */
  #take({ webhookId, workspaceId, state, sinceMs }: OpenBreaker): Written {
    const before = this.#written.get(webhookId)
    // The same instant has one time of day, however often it is written.
    const isSame = before?.sinceMs === sinceMs && before.row.state === state
    const since = isSame ? before.row.since : new Date(Date.now() - (this.#now() - sinceMs))
    const written = { row: { webhookId, workspaceId, state, since }, sinceMs, isSure: false }
    this.#written.set(webhookId, written)
    return written
  }

  async #insert(news: readonly Written[]): Promise<void> {
    const { database, processName } = this.#parts
    for (const chunk of chunksOf(news)) {
      await writeBreakers(
        database.work,
        processName,
        chunk.map(({ row }) => row),
      )
      for (const written of chunk) written.isSure = true
    }
  }

  async #remove(gone: readonly Written[]): Promise<void> {
    const { database, processName } = this.#parts
    for (const chunk of chunksOf(gone)) {
      const keys: WebhookKey[] = chunk.map(({ row }) => row)
      await removeBreakers(database.work, processName, keys)
      for (const { webhookId } of keys) this.#written.delete(webhookId)
    }
  }
}

function* chunksOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += chunkRows) yield items.slice(from, from + chunkRows)
}
