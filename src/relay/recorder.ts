import { setTimeout as delay } from 'node:timers/promises'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { within } from '../ops/within.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { ClosedExchange, OpenedExchange } from '../storage/exchange-record.ts'
import type { LateReply } from '../storage/exchanges.ts'
import type { Spool } from '../storage/spool.ts'
import { Alarm } from './alarm.ts'
import { Gathering } from './gathering.ts'
import {
  databasePatienceMs,
  diskPatienceMs,
  memoryLimit,
  memoryLimitOfDisk,
  overduePatienceMs,
  retryMs,
  spooledPatienceMs,
  spoolRetryMs,
} from './recorder-limits.ts'
import { encodeRow, partsOf, type Row } from './row.ts'
import { type Entry, entryOf, groupLimits, letGo, lookAt, Recording, RowQueue, type Wait } from './row-queue.ts'
import type { RowWriter } from './row-writer.ts'
import { readGroups } from './spooled-rows.ts'
import { tokenName, UnwrittenTokens } from './unwritten.ts'

export interface RecorderParts {
  readonly writer: Pick<RowWriter, 'away' | 'write'>
  readonly spool: Pick<Spool, 'rows' | 'bytes' | 'open' | 'adopt' | 'append' | 'first' | 'removeFirst' | 'close'>
  readonly log: Log
  readonly metrics: Pick<Metrics, 'rowsWaiting' | 'rowsSpooled' | 'rowsLost'>
}

/**
 * Writes exchange rows in groups: what comes while one group is written makes the next, and what nobody waits for yet gathers. What the
 * database does not acknowledge in time goes to the spool on this machine's disk as well, and after it all that comes, in order, until
 * the spool was written to the database and is empty: docs/adr/0002-spool.md.
 */
export class Recorder {
  readonly #log: Log
  readonly #metrics: RecorderParts['metrics']
  readonly #spool: RecorderParts['spool']
  readonly #writer: RecorderParts['writer']
  readonly #tokens = new UnwrittenTokens()
  readonly #stopping = new AbortController()
  readonly #queue = new RowQueue()
  readonly #gathering = new Gathering()
  readonly #alarm = new Alarm(() => this.#look())
  /** The group that only the database has, and the one that the disk is taking. */
  #flight: readonly Entry[] = []
  #appending: readonly Entry[] = []
  #appended = Promise.resolve()
  /** Rows go to the spool: it holds rows that must be written before them. */
  #isDiverted = false
  /** The spool is all but empty: rows wait in memory until the last of it is written. */
  #isHeld = false
  #running: Promise<void> | null = null
  #spooling: Promise<void> | null = null
  #spoolFailedAt = Number.NEGATIVE_INFINITY
  #unsafe = 0

  constructor({ writer, spool, log, metrics }: RecorderParts) {
    this.#writer = writer
    this.#spool = spool
    this.#log = log
    this.#metrics = metrics
  }

  /** Records an opening. `deliveries` are written with it. */
  opened(row: OpenedExchange, deliveries: readonly NewDelivery[], wait: Wait = {}): Recording {
    const { patienceMs = databasePatienceMs, awaitedInMs } = wait
    this.#gathering.opening(awaitedInMs)
    return this.#add({ kind: 'opened', row, deliveries }, row.flowToken, Math.min(patienceMs, databasePatienceMs))
  }

  /** Records an end. An answer that `deliveries` are owed before waits for it: then the deadline may be over. */
  closed(row: ClosedExchange, flowToken: string | null, deliveries: readonly NewDelivery[]): Recording {
    const patienceMs = deliveries.length === 0 ? databasePatienceMs : overduePatienceMs
    return this.#add({ kind: 'closed', row, deliveries }, flowToken, patienceMs)
  }

  /** Records what is told of exchanges whose rows are written already. */
  told(deliveries: readonly NewDelivery[]): void {
    const [first] = deliveries
    if (first === undefined) return
    const row = { workspaceId: first.workspaceId, id: first.id }
    this.#add({ kind: 'told', row, deliveries }, null, databasePatienceMs)
  }

  late(row: LateReply): void {
    this.#add({ kind: 'late', row, deliveries: [] }, null, databasePatienceMs)
  }

  /** Resolves once what was recorded of a flow token can be read; undefined when it can be now, or rows go to the spool. */
  unsettled(workspaceId: WorkspaceId, flowToken: string): Promise<void> | undefined {
    if (this.#isDiverted || this.#writer.away) return undefined
    const token = `${workspaceId} ${flowToken}`
    const written = this.#tokens.written(token)
    if (written !== undefined && this.#queue.entries.some((entry) => entry.token === token)) this.#gathering.end()
    return written
  }

  /** Takes over what processes that died left on the disk: it is written before anything new. Never throws. */
  async adopt(): Promise<void> {
    try {
      for (const fault of await this.#spool.adopt()) this.#log.error({ fault }, 'a spool gives no rows')
      if (this.#spool.rows === 0 || this.#isDiverted) return
      this.#log.warn({ rows: this.#spool.rows }, 'a process that ended left rows in its spool: they are written now')
      this.#divert()
    } catch (error) {
      this.#spoolFailed(error)
    }
  }

  /** Writes what is left, for at most `timeoutMs`; what the database does not take goes to the spool, for the next process. Returns how many rows are in neither. */
  async close(timeoutMs: number): Promise<number> {
    const dueAt = performance.now() + timeoutMs
    this.#stopping.abort()
    this.#gathering.end()
    await within(spooledPatienceMs, this.#running)
    // What is on the disk already is as well written by the next process.
    if (!this.#isDiverted) await within(Math.max(0, timeoutMs - spooledPatienceMs), this.#running)
    if (this.#unsafe > 0) this.#divert()
    await within(diskPatienceMs, this.#spooling)
    // No disk takes them: rather before what is in the spool than never.
    if (this.#unsafe > 0) await within(Math.max(0, dueAt - performance.now()), this.#writeRest())
    this.#alarm.clear()
    if (this.#unsafe > 0) this.#metrics.rowsLost(this.#unsafe)
    if (this.#spool.rows > 0) this.#log.warn({ rows: this.#spool.rows }, 'rows stay in the spool for the next process')
    await within(diskPatienceMs, this.#spool.close())
    return this.#unsafe
  }

  #add(whole: Row, flowToken: string | null, patienceMs: number): Recording {
    const parts = partsOf(whole)
    const counted = parts.length === 1 ? undefined : new Set<unknown>()
    const entries = parts.map((part, at) => this.#addPart(part, at === 0 ? flowToken : null, patienceMs, counted))
    return new Recording(entries, this.#gathering)
  }

  #addPart(row: Row, flowToken: string | null, patienceMs: number, counted?: Set<unknown>): Entry {
    const entry = entryOf(row, tokenName(row.row.workspaceId, flowToken), patienceMs, counted)
    this.#queue.push(entry)
    this.#gathering.afterthought()
    if (row.kind === 'closed' && row.row.completed) this.#gathering.end()
    this.#tokens.add(entry.token)
    this.#unsafe++
    if (this.#queue.weight > memoryLimit) this.#makeRoom()
    this.#alarm.setFor(entry.halfAt)
    if (this.#isDiverted) this.#spooling ??= this.#spoolRows()
    this.#running ??= this.#run()
    return entry
  }

  async #run(): Promise<void> {
    // Rows of calls that end in the same turn of the event loop go into one group.
    await new Promise(setImmediate)
    let pause = retryMs.first
    while (this.#queue.length > 0 || this.#isDiverted) {
      if (!this.#isDiverted) await this.#gathering.ended()
      const written = await (this.#isDiverted ? this.#drain() : this.#writeNext())
      this.#tell()
      if (!written && this.#stopping.signal.aborted) break
      if (!written) await delay(pause, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
      pause = written ? retryMs.first : Math.min(pause * 2, retryMs.last)
    }
    this.#running = null
  }

  /** Writes a group to the database. False when it was not asked. */
  async #writeNext(): Promise<boolean> {
    const group = this.#queue.take()
    this.#gathering.begin(this.#queue.length > 0)
    this.#flight = group
    const written = await this.#writer.write(group, false)
    if (written) for (const entry of group) this.#settle(entry)
    // Unless they go to the spool already.
    else if (this.#flight === group) this.#divert()
    this.#flight = []
    return written
  }

  async #writeRest(): Promise<void> {
    while (this.#queue.length > 0 && (await this.#writeNext()));
  }

  /** Writes the oldest group of the spool to the database. When none is left, rows go straight there again. */
  async #drain(): Promise<boolean> {
    if (this.#spool.rows === 0) {
      // Not all that is being spooled: where rows keep coming that never ends.
      await this.#appended
      if (this.#spool.rows + this.#appending.length > 0) return true
      this.#isDiverted = false
      this.#log.info('the spool is empty: rows go straight to the database')
      return true
    }
    const spooled = await readGroups(this.#spool).catch(this.#spoolFailed)
    // A spool that cannot be read must not keep back what need not pass through it: order is the lesser loss.
    if (spooled === false) return this.#queue.length > 0 && this.#writeNext()
    let written = true
    for (const group of spooled.groups) written &&= await this.#writer.write(group, true)
    const isGone = written && (await this.#spool.removeFirst().then(() => true, this.#spoolFailed))
    if (isGone && spooled.lost > 0) this.#lose(spooled.lost, 'the spool holds what is no row or cannot be read')
    this.#isHeld = written && this.#spool.rows < groupLimits.rows
    if (!this.#isHeld) this.#spooling ??= this.#spoolRows()
    // Rows that were late for the disk are to be looked at anew.
    else this.#alarm.setFor(performance.now())
    return written
  }

  /** From here on rows go to the spool, those that the database has not acknowledged first. */
  #divert(): void {
    this.#isDiverted = true
    this.#isHeld = false
    this.#putBack(this.#flight)
    this.#flight = []
    this.#spooling ??= this.#spoolRows()
    this.#running ??= this.#run()
  }

  #putBack(group: readonly Entry[]): void {
    this.#queue.putBack(group)
    this.#gathering.end()
  }

  async #spoolRows(): Promise<void> {
    await new Promise(setImmediate)
    while (this.#isDiverted && !this.#isHeld && this.#queue.length > 0) {
      if (performance.now() - this.#spoolFailedAt < spoolRetryMs) {
        // Nobody waits for rows that no disk takes. They are tried on.
        for (const entry of this.#queue.entries) letGo(entry)
        break
      }
      this.#appended = this.#append(this.#queue.take())
      await this.#appended
      this.#tell()
    }
    this.#spooling = null
  }

  async #append(group: readonly Entry[]): Promise<void> {
    if (group.length === 0) return
    this.#appending = group
    try {
      await this.#spool.append(group.map(encodeRow))
      for (const entry of group) this.#settle(entry)
    } catch (error) {
      this.#putBack(group)
      this.#spoolFailed(error)
      this.#makeRoom()
    }
    this.#appending = []
  }

  readonly #spoolFailed = (error: unknown): false => {
    this.#spoolFailedAt = performance.now()
    const reason = error instanceof Error ? error.message : 'unknown'
    this.#log.error({ error, reason, rows: this.#unsafe }, 'the spool fails: exchanges go on, rows wait in memory only')
    return false
  }

  #settle(entry: Entry): void {
    if (entry.state === 'safe') return
    entry.state = 'safe'
    this.#unsafe--
    this.#tokens.settle(entry.token)
    letGo(entry)
  }

  #makeRoom(): void {
    const hasDisk = performance.now() - this.#spoolFailedAt >= spoolRetryMs
    if (hasDisk && (!this.#isDiverted || this.#isHeld)) this.#divert()
    const heaviest = this.#queue.trimTo(hasDisk ? memoryLimitOfDisk : memoryLimit)
    if (heaviest.length === 0) return
    for (const entry of heaviest) this.#settle(entry)
    this.#lose(heaviest.length, 'neither the database nor the disk takes rows')
  }

  #lose(rows: number, reason: string): void {
    this.#metrics.rowsLost(rows)
    this.#log.error({ reason, rows }, 'rows are lost')
  }

  /** Looks which rows wait too long. */
  #look(): void {
    const entries = [...this.#flight, ...this.#appending, ...this.#queue.entries]
    const { next, isSlow, isLate } = lookAt(entries, performance.now(), diskPatienceMs)
    if (isLate && (!this.#isDiverted || this.#isHeld)) this.#divert()
    // The thread and its file take some milliseconds to make: at half time, so that the disk then takes rows at once.
    else if (isSlow && !this.#isDiverted) this.#spool.open().catch(this.#spoolFailed)
    if (next < Number.POSITIVE_INFINITY) this.#alarm.setFor(next)
  }

  #tell(): void {
    this.#metrics.rowsWaiting(this.#unsafe)
    this.#metrics.rowsSpooled(this.#spool.rows, this.#spool.bytes)
  }
}
