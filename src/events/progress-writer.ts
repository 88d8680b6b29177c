import { setTimeout as delay } from 'node:timers/promises'
import { type DeliveryHealth, type DeliveryResult, healthAfter, healthy } from '../domain/delivery.ts'
import type { Log } from '../ops/logger.ts'
import { within } from '../ops/within.ts'
import { planningOn } from '../storage/arrays.ts'
import { type Database, type Statements, StorageError, statementsOf, storing } from '../storage/database.ts'
import { type DeliveryProgress, recordHealth, recordProgress } from '../storage/delivery-work.ts'
import { hasAnsweredSince } from '../storage/webhook-answers.ts'
import type { Queue } from './queue.ts'
import type { KnownWebhook } from './webhook-book.ts'

/** What an attempt came to, and of which webhook it says what. */
export interface Finished {
  readonly progress: DeliveryProgress
  /** Null: there was no attempt. */
  readonly judged: { readonly webhook: KnownWebhook; readonly result: DeliveryResult } | null
  /** Called once it is written. `isMoved` false: it is another attempt's by now, and so is its alarm. */
  readonly written: (isMoved: boolean) => void
}

const groupRows = 500
const retryMs = { first: 100, last: 2000 }
/** How long rows that somebody else holds are waited for, ms: those of one workspace briefly, as others stand behind it. */
const lockMs = { together: 1000, apart: 100 }
/** What looks for webhooks' answers may take of one group, ms. */
const looksMs = 2000
/** After a look for a webhook's answers that failed. */
const lookAgainMs = 60_000

type End = 'written' | 'away' | 'locked'

interface HealthNote {
  readonly webhook: KnownWebhook
  readonly health: DeliveryHealth
  readonly change: 'warn' | 'disable' | null
}

/**
 * Writes what became of deliveries, in groups: what comes while one is written makes the next. Row, attempt, alarm and the webhook's
 * health move in one transaction. While the database is away it is tried again; whatever is lost with the process is attempted again. Where rows of a
 * group are locked, each workspace's are written apart, and what is locked then is set aside, for minutes where a workspace is deleted: the others
 * do not wait, however many it has.
 */
export class ProgressWriter {
  readonly #database: Database
  readonly #queue: Queue
  readonly #log: Log
  #finished: Finished[] = []
  /** By workspace, of those whose rows were locked. The first is the one that is tried next. */
  readonly #locked = new Map<string, Finished[]>()
  /** `performance.now()` of the last try that found rows locked, and how long after it the next is made. */
  #lockedAt = 0
  #lockedPauseMs = retryMs.first
  #lockedTimer: NodeJS.Timeout | undefined
  readonly #stopping = new AbortController()
  /** `performance.now()`: from then on nothing more is begun. */
  #overAt = Number.POSITIVE_INFINITY
  /** `performance.now()`, for all webhooks: each look that fails takes its time from everybody's deliveries. */
  #lookAgainAt = 0
  #running: Promise<void> | null = null

  constructor(database: Database, queue: Queue, log: Log) {
    this.#database = database
    this.#queue = queue
    this.#log = log
  }

  add(finished: Finished): void {
    const aside = this.#locked.get(finished.progress.workspaceId)
    if (aside === undefined) this.#finished.push(finished)
    else aside.push(finished)
    this.#start()
  }

  /** Writes what is left, for at most `timeoutMs`. What the database does not take then is attempted again by another process. */
  async close(timeoutMs: number): Promise<void> {
    this.#overAt = performance.now() + timeoutMs
    this.#stopping.abort()
    this.#start()
    await within(timeoutMs, this.#running)
  }

  #start(): void {
    clearTimeout(this.#lockedTimer)
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    await new Promise(setImmediate)
    let pause = retryMs.first
    while (!this.#isOver && (this.#finished.length > 0 || this.#lockedWaitMs() <= 0)) {
      const end = this.#lockedWaitMs() <= 0 ? await this.#writeLocked() : await this.#writeNew()
      if (end === 'away' && signal.aborted) break
      if (end === 'away') await delay(pause, undefined, { signal }).catch(() => undefined)
      pause = end === 'away' ? Math.min(pause * 2, retryMs.last) : retryMs.first
    }
    this.#running = null
    if (this.#locked.size > 0 && !signal.aborted) {
      this.#lockedTimer = setTimeout(() => this.#start(), this.#lockedWaitMs())
    }
  }

  get #isOver(): boolean {
    return performance.now() >= this.#overAt
  }

  /** Until what was locked is tried again: seldom while others wait, as each try takes their time, and at the end after all of them. */
  #lockedWaitMs(): number {
    const isBehind = this.#finished.length > 0
    if (this.#locked.size === 0) return Number.POSITIVE_INFINITY
    if (this.#stopping.signal.aborted) return isBehind ? Number.POSITIVE_INFINITY : 0
    return this.#lockedAt + (isBehind ? retryMs.last : this.#lockedPauseMs) - performance.now()
  }

  /** Writes those that stand first, and sets aside what is locked. What it did not come to stands first again. */
  async #writeNew(): Promise<'written' | 'away'> {
    const group = this.#finished.splice(0, groupRows)
    const end = await this.#write(group, lockMs.together)
    if (end === 'away') this.#finished.unshift(...group)
    if (end !== 'locked') return end
    const left = Map.groupBy(group, ({ progress }) => progress.workspaceId)
    const isOne = left.size === 1
    for (const [workspaceId, own] of left) {
      if (this.#isOver) break
      const ownEnd = isOne ? end : await this.#write(own, lockMs.apart)
      if (ownEnd === 'away') break
      if (ownEnd === 'locked') this.#setAside(workspaceId, own)
      left.delete(workspaceId)
    }
    this.#finished.unshift(...[...left.values()].flat())
    return left.size > 0 ? 'away' : 'written'
  }

  /** In their order, with those that came since. */
  #setAside(workspaceId: string, locked: readonly Finished[]): void {
    const isOwn = ({ progress }: Finished) => progress.workspaceId === workspaceId
    this.#locked.set(workspaceId, [...locked, ...this.#finished.filter(isOwn)])
    this.#finished = this.#finished.filter((finished) => !isOwn(finished))
    this.#lockedAt = performance.now()
  }

  /** Tries one workspace of those that were set aside, in turn. At the end each is tried once. */
  async #writeLocked(): Promise<End> {
    const [first] = this.#locked
    if (first === undefined) return 'written'
    const [workspaceId, own] = first
    const group = own.slice(0, groupRows)
    const end = await this.#write(group, lockMs.apart)
    this.#locked.delete(workspaceId)
    if (end === 'written') this.#finished.push(...own.slice(group.length))
    else if (!this.#stopping.signal.aborted) this.#locked.set(workspaceId, own)
    // One that is written took nobody's time in vain: the next is tried at once.
    this.#lockedAt = end === 'written' ? Number.NEGATIVE_INFINITY : performance.now()
    this.#lockedPauseMs = end === 'written' ? retryMs.first : Math.min(this.#lockedPauseMs * 2, retryMs.last)
    return end
  }

  /** All of a group, or nothing. */
  async #write(group: readonly Finished[], waitMs: number): Promise<End> {
    const moved = await this.#commit(group, waitMs)
    if (moved === 'away' || moved === 'locked') return moved
    for (const { progress, written } of group) written(moved.has(progress.deliveryId))
    return 'written'
  }

  /** The ids of deliveries that moved; else why none was written. Never throws. */
  async #commit(group: readonly Finished[], waitMs: number): Promise<ReadonlySet<string> | Exclude<End, 'written'>> {
    try {
      const notes = await this.#healthNotes(group)
      const rows = group.map(({ progress }) => progress)
      const { work, backend } = this.#database
      // What Citus makes of a function there nobody has tried.
      const planning = backend === 'citus' ? 'each_time' : planningOn(work)
      const moved = await storing('write attempts', () =>
        work.begin(async (tx) => {
          const [, ids] = await Promise.all([
            // Sent before the others, and not waited for.
            tx.unsafe(`set local lock_timeout = ${waitMs}`).execute(),
            recordProgress(tx, rows, planning),
            ...notes.map(({ webhook, health }) => recordHealth(tx, webhook.workspaceId, webhook.id, health)),
          ])
          await this.#moveAlarms(statementsOf(tx), rows, ids)
          return ids
        }),
      )
      for (const note of notes) {
        note.webhook.health = note.health
        this.#tell(note)
      }
      return moved
    } catch (error) {
      if (error instanceof StorageError && error.unavailable) this.#database.renew()
      this.#log.warn({ error, deliveries: group.length }, 'what became of deliveries is not written yet')
      return error instanceof StorageError && error.contended ? 'locked' : 'away'
    }
  }

  /** The alarm of a delivery that did not move stays: it is to ring for whoever redelivered it, or in vain. */
  async #moveAlarms(
    statements: Statements,
    rows: readonly DeliveryProgress[],
    ids: ReadonlySet<string>,
  ): Promise<void> {
    const waiting = rows.flatMap((row) =>
      row.dueAt === null || !ids.has(row.deliveryId) ? [] : [{ ...row, place: 'back' as const }],
    )
    await this.#queue.remove(statements, [...ids])
    await this.#queue.set(statements, waiting)
  }

  /** The health of those webhooks of a group whose health moves. */
  async #healthNotes(group: readonly Finished[]): Promise<HealthNote[]> {
    const notes = new Map<string, HealthNote>()
    const until = performance.now() + looksMs
    for (const { progress, judged } of group) {
      if (judged === null) continue
      const { webhook, result } = judged
      const before = notes.get(webhook.id)?.health ?? webhook.health
      const after = healthAfter(before, result, progress.at)
      const note = await this.#unlessItAnswers(webhook, before, result, progress.at, after, until)
      if (!isSame(before, note.health)) notes.set(webhook.id, { webhook, ...note })
    }
    return [...notes.values()]
  }

  /**
   * An answered exchange counts as a success (contract.md §4): looked for before anything is done about a webhook that fails. Where that
   * is not to be told, or not `until` then, its health stays as it was, until a failure later: the deliveries of others do not wait for it.
   */
  async #unlessItAnswers(
    { workspaceId, id }: KnownWebhook,
    before: DeliveryHealth,
    result: DeliveryResult,
    at: Date,
    after: { readonly health: DeliveryHealth; readonly change: 'warn' | 'disable' | null },
    until: number,
  ): Promise<Omit<HealthNote, 'webhook'>> {
    const { failingSince } = before
    if (after.change === null || result === 'gone' || failingSince === null) return after
    const unchanged = { health: before, change: null }
    const now = performance.now()
    if (now < this.#lookAgainAt || now >= until) return unchanged
    try {
      const answers = await hasAnsweredSince(this.#database, workspaceId, id, failingSince)
      return answers ? { health: { ...healthy, failingSince: at }, change: null } : after
    } catch (error) {
      this.#lookAgainAt = performance.now() + lookAgainMs
      this.#log.warn(
        { error, workspaceId, webhookId: id },
        'whether a failing webhook answers exchanges is not known yet',
      )
      return unchanged
    }
  }

  #tell({ webhook: { id: webhookId, workspaceId }, health, change }: HealthNote): void {
    const { failingSince } = health
    if (change === 'warn') {
      this.#log.warn(
        { workspaceId, webhookId, failingSince },
        'a webhook has failed for a day: its deliveries stop after 5',
      )
    }
    if (change === 'disable') {
      this.#log.error({ workspaceId, webhookId, failingSince }, "a webhook's asynchronous deliveries were stopped")
    }
  }
}

function isSame(a: DeliveryHealth, b: DeliveryHealth): boolean {
  return (
    a.failingSince?.getTime() === b.failingSince?.getTime() &&
    a.failureWarnedAt?.getTime() === b.failureWarnedAt?.getTime() &&
    a.deliveriesDisabledAt?.getTime() === b.deliveriesDisabledAt?.getTime()
  )
}
