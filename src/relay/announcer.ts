import { buildNotice, type ExchangeRecords, recordMembers } from '../domain/envelope.ts'
import { type ExchangeEvent, errorEvent, fallbackEvent, type Notice } from '../domain/events.ts'
import type { ErrorNotification } from '../domain/exchange.ts'
import type { Flow } from '../domain/flow.ts'
import { newUuid } from '../domain/ids.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Outcome } from '../domain/outcome.ts'
import { subscribersOf } from '../domain/webhook.ts'
import { type Announcement, deliveriesTo } from '../events/announcement.ts'
import type { Backlog } from '../events/backlog.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { Account, RelayWebhook } from './directory.ts'
import { FallbackNotices } from './fallback-notices.ts'

/** What an event about a flow token tells of it. */
export interface Known {
  readonly flowToken: string | null
  readonly flow: Flow | null
  readonly records: ExchangeRecords
}

/** An exchange that ended in a fallback. */
export interface EndedExchange {
  readonly id: string
  readonly outcome: Outcome
  readonly durationMs: number
  readonly event: ExchangeEvent
}

/** Makes the asynchronous deliveries of a call from Meta. They are written by whoever writes the call's row. */
export class Announcer {
  readonly #backlog: Backlog
  readonly #fallbacks: FallbackNotices

  /** `tell` gets what is not written with a row. */
  constructor(backlog: Backlog, tell: (deliveries: readonly NewDelivery[]) => void) {
    this.#backlog = backlog
    this.#fallbacks = new FallbackNotices(tell)
  }

  /** The same envelope, with the same id, for webhooks that are told of an exchange and not asked. */
  observed(observers: readonly RelayWebhook[], announcement: Announcement): NewDelivery[] {
    return deliveriesTo(observers, announcement, this.#backlog)
  }

  /** Whether anybody wants to know of errors that phones report. */
  hasErrorSubscribers(account: Account): boolean {
    return account.webhooks.some(({ active, events }) => active && events.includes(errorEvent))
  }

  error(account: Account, request: ErrorNotification, known: Known, now: Date, plaintext: Buffer): NewDelivery[] {
    const { action, screen, version } = request
    const members = { error: { ...request.error, action, screen, version } }
    const notice = noticeOf(account, errorEvent, known, members, now)
    const subscribers = subscribersOf(account.webhooks, errorEvent, known.flow?.id ?? null)
    return deliveriesTo(subscribers, { ...notice, plain: plaintext }, this.#backlog)
  }

  /** At most one a second to each webhook: the others are told of later. */
  fallback(account: Account, exchange: EndedExchange, known: Known): NewDelivery[] {
    const subscribers = subscribersOf(account.webhooks, fallbackEvent, known.flow?.id ?? null)
    return subscribers.flatMap((webhook) => {
      const make = (count: number) => {
        const notice = noticeOf(account, fallbackEvent, known, { exchange, count }, new Date())
        return deliveriesTo([webhook], notice, this.#backlog)
      }
      return this.#fallbacks.add(webhook.id, make) ?? []
    })
  }

  /** Tells of what was held back: the process ends. */
  close(): void {
    this.#fallbacks.flush()
  }
}

function noticeOf(
  { workspaceId, wabaId }: Account,
  event: Notice,
  { flowToken, flow, records }: Known,
  members: JsonObject,
  now: Date,
): Announcement {
  const id = newUuid(now.getTime())
  const data = { ...recordMembers(workspaceId, wabaId, flowToken, flow, records), ...members }
  const envelope = buildNotice({ id, event, workspaceId, now, resourceId: flowToken, changes: null, data })
  const [flowId, clientId] = [flow?.id ?? null, records.client?.id ?? null]
  return {
    workspaceId,
    id,
    event,
    now,
    resourceId: flowToken,
    flowId,
    clientId,
    envelope: Buffer.from(envelope),
    plain: null,
  }
}
