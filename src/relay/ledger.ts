import type { Attempt } from '../delivery/attempt.ts'
import { errorEvent, exchangeEvent } from '../domain/events.ts'
import type { FlowRequest } from '../domain/exchange.ts'
import type { FlowResponse } from '../domain/flow-response.ts'
import { isFallback, type Outcome, outcomes } from '../domain/outcome.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Traces } from '../ops/traces.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { OpenedExchange } from '../storage/exchange-record.ts'
import type { RecordedAttempt } from '../storage/schema.ts'
import type { Announcer, Known } from './announcer.ts'
import type { Account } from './directory.ts'
import type { Ending } from './ending.ts'
import { exchangeSpans, type TracedExchange } from './exchange-trace.ts'
import type { FlowWatch } from './flow-watch.ts'
import type { Recorder } from './recorder.ts'
import type { Recording } from './row-queue.ts'
import type { Stopwatch } from './stopwatch.ts'

export interface LedgerFacts {
  readonly id: string
  readonly now: Date
  readonly account: Account
  readonly watch: Stopwatch
  /** Null when the call did not open. */
  readonly request: FlowRequest | null
}

/** What is found out before a webhook is asked. */
export interface Learned {
  readonly known: Known
  /** The webhook that answers, whether it is asked or not. */
  readonly webhookId?: string | null
  readonly envelope?: Buffer
  /** To be stored; null where no row is made or moved. */
  readonly flowResponse?: FlowResponse | null
  /** For those who are told of the exchange and not asked. */
  readonly deliveries?: readonly NewDelivery[]
  /** Until the deadline, ms. */
  readonly patienceMs?: number
}

export const noRecords = { client: null, conversation: null, flowResponse: null }

interface LedgerParts {
  readonly recorder: Recorder
  readonly announcer: Announcer
  readonly metrics: Metrics
  readonly traces?: Traces | null
  readonly flows?: FlowWatch
  readonly log: Log
}

/** The record of one exchange: opened at most once, closed exactly once, with its row, its log line and its metrics. */
export class ExchangeLedger {
  readonly id: string
  readonly now: Date
  readonly account: Account
  readonly watch: Stopwatch
  readonly #request: FlowRequest | null
  readonly #parts: LedgerParts
  #learned: Learned
  #opened: OpenedExchange | null = null
  #recorded: Recording | null = null

  constructor(parts: LedgerParts, facts: LedgerFacts) {
    this.#parts = parts
    this.id = facts.id
    this.now = facts.now
    this.account = facts.account
    this.watch = facts.watch
    this.#request = facts.request
    this.#learned = { known: { flowToken: facts.request?.flowToken ?? null, flow: null, records: noRecords } }
  }

  /** What the record is to hold, once it is opened or ended. */
  learn(learned: Learned): void {
    this.#learned = learned
  }

  /** Records what was learned. Before the webhook is asked: it is written while the webhook thinks, which is likely to take `awaitedInMs`. */
  open(awaitedInMs?: number): void {
    const request = this.#request
    const { known, webhookId = null, envelope = null, flowResponse = null, deliveries = [] } = this.#learned
    const { patienceMs = Number.POSITIVE_INFINITY } = this.#learned
    this.#opened = {
      workspaceId: this.account.workspaceId,
      id: this.id,
      createdAt: this.now,
      wabaId: this.account.wabaId,
      event: eventOf(request),
      action: actionOf(request),
      screen: request?.screen ?? null,
      flowToken: request?.flowToken ?? null,
      flowId: known.flow?.id ?? null,
      clientId: known.records.client?.id ?? null,
      webhookId,
      envelope,
      flowResponse,
    }
    this.#recorded = this.#parts.recorder.opened(this.#opened, deliveries, { patienceMs, awaitedInMs })
  }

  /**
   * Closes the record; resolves once its opening is on a disk, and what is told of its end: no answer may go out before. A call that ends as soon
   * as it is opened is written whole, in one group. Never rejects.
   */
  async end(ending: Ending): Promise<void> {
    const readyAt = performance.now()
    const isWhole = this.#opened === null
    const whole = isWhole ? this.#close(ending) : null
    await this.#recorded?.onDisk(!isWhole)
    const told = isWhole ? whole : this.#close(ending)
    await told?.onDisk()
    const now = performance.now()
    this.#parts.metrics.answerWaited(now - readyAt)
    this.#measure(ending.outcome, now - this.watch.startedAt)
  }

  /** What the row cannot have: with the wait for the row itself. */
  #measure(outcome: Outcome, durationMs: number): void {
    this.#parts.metrics.exchangeEnded(outcome, durationMs)
    const flowId = this.#opened?.flowId ?? null
    if (flowId !== null) this.#parts.flows?.ended(flowId, this.account.workspaceId, durationMs)
  }

  /** Records that the webhook's reply came all the same, `lateReplyMs` after its request was dispatched. */
  late(lateReplyMs: number): void {
    this.#parts.recorder.late({ workspaceId: this.account.workspaceId, id: this.id, lateReplyMs })
  }

  /** Null where nobody is told of the end, but for the log. */
  #close(ending: Ending): Recording | null {
    if (this.#opened === null) this.open()
    const { outcome, attempt = null } = ending
    const timings = this.watch.read()
    const notices = this.#fallbackNotices(outcome, timings.total)
    const recorded = this.#parts.recorder.closed(
      {
        workspaceId: this.account.workspaceId,
        id: this.id,
        clientId: this.#opened?.clientId ?? null,
        outcome,
        reason: ending.reason ?? null,
        durationMs: timings.total,
        webhookMs: attempt?.durationMs ?? null,
        timings,
        answer: ending.text === null ? null : Buffer.from(ending.text),
        answerScreen: ending.screen ?? null,
        attempt: attempt && recordOf(attempt),
        completed: ending.completed ?? null,
        ...(this.#opened?.envelope === null && this.#opened.flowToken === null && { isBare: true }),
      },
      this.#request?.flowToken ?? null,
      notices,
    )
    if (attempt !== null) this.#parts.metrics.webhookEnded(outcome, attempt.durationMs)
    this.#parts.traces?.record(this.id, () => exchangeSpans(this.#traced(ending, timings.total)))
    this.#tell(ending, timings)
    return notices.length === 0 ? null : recorded
  }

  #traced({ outcome, attempt }: Ending, durationMs: number): TracedExchange {
    const { workspaceId, wabaId } = this.account
    const [kind, event] = [this.#request?.kind ?? null, eventOf(this.#request)]
    const { flowId = null, webhookId = null } = this.#opened ?? {}
    const names = { id: this.id, kind, event, workspaceId, wabaId, flowId, webhookId }
    return { ...names, watch: this.watch, durationMs, outcome, attempt: attempt ?? null }
  }

  #fallbackNotices(outcome: Outcome, durationMs: number): NewDelivery[] {
    if (this.#request?.kind !== 'exchange' || !isFallback(outcome)) return []
    const event = exchangeEvent(this.#request.action)
    return this.#parts.announcer.fallback(
      this.account,
      { id: this.id, outcome, durationMs, event },
      this.#learned.known,
    )
  }

  /** The one wide line of an exchange: ids, names and milliseconds, never a payload, token, phone number or secret. */
  #tell({ outcome, attempt, reason }: Ending, ms: object): void {
    const { level, fault } = outcomes[outcome]
    const { workspaceId, wabaId } = this.account
    const kind = this.#request?.kind ?? null
    const event = eventOf(this.#request)
    const { flowId = null, webhookId = null } = this.#opened ?? {}
    const line = { exchangeId: this.id, workspaceId, wabaId, kind, event, outcome, fault, flowId, webhookId, ms }
    const more = { ...(attempt && { webhookStatus: attempt.status }), ...(reason && { reason }) }
    this.#parts.log[level]({ ...line, ...more }, 'exchange')
  }
}

function eventOf(request: FlowRequest | null): string | null {
  if (request?.kind === 'exchange') return exchangeEvent(request.action)
  return request?.kind === 'error_notification' ? errorEvent : null
}

/** What a phone sent as an unknown action can be anything: enough of it is kept to know it by. */
function actionOf(request: FlowRequest | null): string | null {
  return request?.action?.slice(0, 100) ?? null
}

function recordOf({ status, failure, durationMs, connectMs, headMs, bytes }: Attempt): RecordedAttempt {
  return { status, failure, durationMs, connectMs, headMs, bytes }
}
