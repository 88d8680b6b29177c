import type { Attempt, SignedRequest } from '../delivery/attempt.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Traces } from '../ops/traces.ts'
import { within } from '../ops/within.ts'
import { YoungSet } from '../ops/young.ts'
import { type Database, StorageError, statementsOf, storing } from '../storage/database.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import { findOverdue, loadWaiting, type OverdueDelivery, type WaitingDelivery } from '../storage/delivery-work.ts'
import { ringAnew, waits } from './announcement.ts'
import { createAttemptRunner } from './attempt-runner.ts'
import { crowdedIn, Lanes, takenPerWebhook } from './lanes.ts'
import { PacedLook } from './paced-look.ts'
import { ProgressWriter } from './progress-writer.ts'
import { type AlarmPlace, heartbeatMs, type Queue, type RungAlarm, superviseMs } from './queue.ts'
import { TakenAlarms } from './taken-alarms.ts'
import type { KnownWebhook, WebhookBook } from './webhook-book.ts'

export interface DeliveryWorkerParts {
  readonly database: Database
  readonly queue: Queue
  readonly webhooks: Pick<WebhookBook, 'load'>
  /** Whether so many wait for a webhook that its new ones stand behind those of others. */
  readonly isLong: (webhookId: string) => boolean
  /** Makes one request, on connections that exchanges do not use. Never rejects. */
  readonly attempt: (request: SignedRequest) => Promise<Attempt>
  /** Ends the requests that are under way. */
  readonly interrupt: () => void
  readonly userAgent: string
  /** How many may be taken now besides: exchanges come first. */
  readonly room?: () => number
  /** Ms of a monotonic clock: this process's own unless given. */
  readonly now?: () => number
  readonly log: Log
  readonly metrics: Pick<Metrics, 'deliveryAttempted' | 'deliveryBegun' | 'deliveryExhausted' | 'deliveriesUnderWay'>
  readonly traces?: Traces | null
}

/** New deliveries that have a place before they are written. One of the two is to be called. */
export interface HeldDeliveries {
  readonly ids: ReadonlySet<string>
  /** They are written: their first attempts are made. */
  start(): void
  /** They are not written, or not known to be. */
  release(): void
}

const takeLimit = 500
/** Of asking for others' alarms behind those of webhooks that have too many. */
const mostRounds = 4
/** At the end, for what became of attempts, ms. */
const writeRestMs = 5000
/** A delivery that is overdue by so much may have lost its alarm. */
const overdueMs = 60_000
const sweepLimit = 2000

/** Takes alarms that ring and has the attempts made: docs/adr/0003-asynchronous-deliveries.md. */
export class DeliveryWorker {
  readonly #parts: DeliveryWorkerParts
  readonly #lanes = new Lanes()
  readonly #writer: ProgressWriter
  readonly #run: ReturnType<typeof createAttemptRunner>
  readonly #now: () => number
  readonly #taken: TakenAlarms
  readonly #underWay = new YoungSet<Promise<void>>()
  readonly #stopping = new AbortController()
  /** Each kind of alarm is looked for on its own: a look past a hundred thousand that wait must not hold up new ones. */
  readonly #looks: Readonly<Record<AlarmPlace, PacedLook>>
  #looking: Promise<unknown> | null = null
  #starting: Promise<void> | null = null
  #timers: NodeJS.Timeout[] = []
  #sweptTo: OverdueDelivery | null = null
  #isInterrupted = false
  /** At the end the database did not answer: it is not waited for once more. */
  #isForsaken = false

  constructor(parts: DeliveryWorkerParts) {
    this.#parts = parts
    this.#writer = new ProgressWriter(parts.database, parts.queue, parts.log)
    this.#run = createAttemptRunner(parts)
    this.#now = parts.now ?? (() => performance.now())
    this.#taken = new TakenAlarms(this.#now)
    const look = (place: AlarmPlace) => new PacedLook(() => this.#take(place), this.#stopping.signal)
    this.#looks = { front: look('front'), back: look('back') }
  }

  start(): void {
    this.#timers = [
      setInterval(() => void this.#keepAlive(), heartbeatMs).unref(),
      setInterval(() => void this.#supervise(), superviseMs).unref(),
    ]
    this.#looking = Promise.all(Object.values(this.#looks).map((look) => look.run()))
  }

  /** For who added something: the queue is looked at at once. */
  wake(): void {
    this.#looks.front.wake()
    this.#looks.back.wake()
  }

  /**
   * Holds a place for each new delivery whose webhook has one free: it is attempted from memory, and its alarm is for the case that this process
   * dies. All others wait in the queue.
   */
  hold(deliveries: readonly NewDelivery[]): HeldDeliveries {
    const isStopping = this.#stopping.signal.aborted
    const due = isStopping ? [] : deliveries.filter((it) => waits(it) && !this.#parts.isLong(it.webhookId))
    // Asked for only where something is to be held: while exchanges wait, what is given is not given to the queue's.
    let room = due.length === 0 ? 0 : (this.#parts.room?.() ?? due.length)
    const held = due.filter(({ webhookId }) => room-- > 0 && this.#lanes.hold(webhookId))
    return {
      ids: new Set(held.map(({ id }) => id)),
      start: () => held.length > 0 && void this.#startHeld(held),
      release: () => {
        for (const { webhookId } of held) this.#lanes.release(webhookId, null)
        this.#start()
      },
    }
  }

  /** Takes no more, lets what is under way end for `graceMs`, gives the rest back to the queue. */
  async close(graceMs: number): Promise<void> {
    this.#stopping.abort()
    await this.#looking
    await this.#starting
    await within(graceMs, Promise.all(this.#underWay))
    this.#isInterrupted = true
    this.#parts.interrupt()
    await Promise.all(this.#underWay)
    for (const timer of this.#timers) clearInterval(timer)
    await this.#writer.close(writeRestMs)
    if (!this.#isForsaken) await this.#giveBack(this.#taken.ours())
  }

  /** How many alarms were taken; null when the database could not be asked. */
  async #take(place: AlarmPlace): Promise<number | null> {
    const exceptWebhooks = new Set(this.#lanes.full())
    let taken = 0
    try {
      for (let round = 0; round < mostRounds; round++) {
        const limit = Math.min(takeLimit, this.#lanes.room, this.#parts.room?.() ?? takeLimit)
        const alarms = await this.#takeOnce(place, limit, [...exceptWebhooks])
        taken += alarms.length
        const crowded = crowdedIn(alarms)
        if (crowded.length === 0 && alarms.length < limit && place === 'front') this.#lanes.caughtUp(exceptWebhooks)
        if (crowded.length === 0) break
        // The queue gives the oldest alarms, less those that are too many of one webhook: others may stand behind them.
        for (const webhookId of crowded) exceptWebhooks.add(webhookId)
      }
      return taken
    } catch (error) {
      this.#failed(error, 'the queue of deliveries was not looked at')
      return null
    }
  }

  async #takeOnce(place: AlarmPlace, limit: number, exceptWebhooks: readonly string[]): Promise<RungAlarm[]> {
    if (limit === 0) return []
    const options = { place, limit, perWebhook: takenPerWebhook, exceptWebhooks }
    const askedAt = this.#now()
    const alarms = await storing('take alarms', () => this.#parts.queue.take(options))
    // Those that are not new wait here, were long under way, or are not written yet.
    for (const alarm of alarms) if (this.#taken.add(alarm, askedAt)) this.#lanes.add(alarm)
    this.#start()
    return alarms
  }

  /** Starts what has a place. What gets one while deliveries are read is started after them, together. */
  #start(): void {
    if (this.#starting !== null || this.#stopping.signal.aborted) return
    this.#starting = this.#startAll().finally(() => {
      this.#starting = null
    })
  }

  async #startAll(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const alarms = this.#lanes.start()
      if (alarms.length === 0) return
      const rung = alarms.filter((alarm) => this.#mayBegin(alarm))
      if (rung.length > 0) await this.#beginAll(rung, () => loadWaiting(this.#parts.database.work, rung))
    }
  }

  /** One that waited too long for its place gives it up: it rings again, or has. */
  #mayBegin(alarm: RungAlarm): boolean {
    const mayBegin = this.#taken.begin(alarm)
    if (!mayBegin) this.#lanes.release(alarm.webhookId, null)
    return mayBegin
  }

  async #startHeld(held: readonly NewDelivery[]): Promise<void> {
    const alarms = held.map(({ id: deliveryId, workspaceId, webhookId }) => ({ deliveryId, workspaceId, webhookId }))
    for (const alarm of alarms) this.#taken.add(alarm)
    await this.#beginAll(alarms, async () => held.flatMap(firstAttemptOf))
  }

  async #beginAll(alarms: readonly RungAlarm[], load: () => Promise<readonly WaitingDelivery[]>): Promise<void> {
    try {
      const deliveries = await load()
      const webhooks = await this.#parts.webhooks.load(deliveries)
      this.#stopping.signal.throwIfAborted()
      const byId = new Map(deliveries.map((delivery) => [delivery.id, delivery]))
      for (const alarm of alarms) this.#begin(alarm, byId.get(alarm.deliveryId), webhooks.get(alarm.webhookId))
    } catch (error) {
      this.#failed(error, 'deliveries were not read')
      for (const { webhookId } of alarms) this.#lanes.release(webhookId, null)
      // At the end they go back together with all that are taken.
      if (!this.#stopping.signal.aborted) await this.#giveBack(alarms)
    }
    this.#parts.metrics.deliveriesUnderWay(this.#lanes.underWay)
  }

  #begin(alarm: RungAlarm, delivery: WaitingDelivery | undefined, webhook: KnownWebhook | undefined): void {
    const underWay = this.#attempt(alarm, delivery, webhook)
      .catch((error: unknown) => {
        this.#taken.delete(alarm.deliveryId)
        this.#parts.log.error({ error, deliveryId: alarm.deliveryId }, 'a delivery failed inside Relevo')
      })
      .finally(() => {
        this.#underWay.delete(underWay)
        this.#start()
      })
    this.#underWay.add(underWay)
  }

  async #attempt(
    alarm: RungAlarm,
    delivery: WaitingDelivery | undefined,
    webhook: KnownWebhook | undefined,
  ): Promise<void> {
    let isProven: boolean | null = null
    try {
      // It ended meanwhile, or a late repetition of its making rang for it again.
      if (delivery === undefined) return await this.#giveUp(alarm)
      const { progress, result } = await this.#run(delivery, webhook)
      // An attempt that we ended ourselves is no attempt: another process makes it.
      if (this.#isInterrupted && result === 'neutral') return
      if (result !== 'neutral' && result !== null) isProven = result === 'success'
      const judged = webhook === undefined || result === null ? null : { webhook, result }
      this.#writer.add({ progress, judged, written: (isMoved) => this.#written(alarm, isMoved) })
    } finally {
      this.#lanes.release(alarm.webhookId, isProven)
    }
  }

  /** Where it was redelivered while its attempt was under way, and the alarm of that came here, it is attempted anew at once. */
  #written(alarm: RungAlarm, isMoved: boolean): void {
    if (!isMoved && this.#taken.hasRungAgain(alarm)) {
      this.#lanes.add(alarm)
      this.#start()
    } else this.#taken.delete(alarm.deliveryId)
  }

  async #giveUp({ deliveryId }: RungAlarm): Promise<void> {
    const { queue, database } = this.#parts
    this.#taken.delete(deliveryId)
    const remove = () => queue.remove(statementsOf(database.work), [deliveryId])
    await storing('remove alarm', remove).catch((error) => this.#failed(error, 'an alarm was not removed'))
  }

  /** Has alarms ring again, for whoever takes them next. Never throws: without it they ring again once we no longer keep them alive. */
  async #giveBack(alarms: readonly RungAlarm[]): Promise<void> {
    const { queue, database } = this.#parts
    for (const { deliveryId } of alarms) this.#taken.delete(deliveryId)
    if (alarms.length === 0) return
    const again = () => database.work.begin((tx) => ringAnew(queue, tx, alarms))
    await storing('give alarms back', again).catch((error) => this.#failed(error, 'deliveries were not given back'))
  }

  async #keepAlive(): Promise<void> {
    const keep = () => this.#parts.queue.keepAlive(this.#taken.ours().map(({ deliveryId }) => deliveryId))
    await storing('keep alarms', keep).catch((error) => this.#failed(error, 'deliveries were not kept'))
  }

  /** Alarms whose process died ring again; deliveries without an alarm get one. */
  async #supervise(): Promise<void> {
    const { queue, database } = this.#parts
    try {
      await storing('supervise alarms', () => queue.supervise())
      const overdue = await findOverdue(database.work, this.#sweptTo, new Date(Date.now() - overdueMs), sweepLimit)
      const alarms = overdue.map((delivery) => ({ ...delivery, dueAt: null, place: 'back' as const }))
      await storing('set lost alarms', () => queue.set(statementsOf(database.work), alarms))
      // Most wait behind many of their webhook and have an alarm: the next pass looks at the next ones.
      this.#sweptTo = overdue.length < sweepLimit ? null : (overdue.at(-1) ?? null)
    } catch (error) {
      this.#failed(error, 'lost deliveries were not looked for')
    }
  }

  #failed(error: unknown, message: string): void {
    if (error instanceof StorageError && error.unavailable) this.#parts.database.renew()
    if (!this.#stopping.signal.aborted) this.#parts.log.warn({ error }, message)
    else if (error instanceof StorageError) this.#isForsaken ||= error.unanswered
  }
}

function firstAttemptOf({ envelope, createdAt: dueAt, ...delivery }: NewDelivery): WaitingDelivery[] {
  return envelope === null ? [] : [{ ...delivery, envelope, dueAt, attempts: 0, failures: 0 }]
}
