import type { Attempt, SignedRequest } from '../delivery/attempt.ts'
import { asynchronousDeadlineMs, type DeliveryReason } from '../domain/delivery.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { attemptSpanId } from '../ops/trace-ids.ts'
import type { Traces } from '../ops/traces.ts'
import type { DeliveryProgress, WaitingDelivery } from '../storage/delivery-work.ts'
import { type Judged, judgeAttempt, withoutAttempt } from './attempt-judgement.ts'
import { attemptSpan } from './attempt-trace.ts'
import { signRequest } from './signed-request.ts'
import type { KnownWebhook } from './webhook-book.ts'

export interface AttemptRunnerParts {
  /** Makes one request, on connections that exchanges do not use. Never rejects. */
  readonly attempt: (request: SignedRequest) => Promise<Attempt>
  readonly userAgent: string
  readonly log: Log
  readonly metrics: Pick<Metrics, 'deliveryAttempted' | 'deliveryBegun' | 'deliveryExhausted'>
  /** Null or left out: off. */
  readonly traces?: Traces | null
}

/** Where a delivery stands, and what its attempt says of the webhook; `result` null: there was none. */
export type Ran = { readonly progress: DeliveryProgress; readonly result: Judged['result'] | null }

/** Makes one attempt of a delivery, or finds that there is to be none. Never rejects. */
export function createAttemptRunner(parts: AttemptRunnerParts) {
  const { userAgent, log, metrics, traces } = parts

  function request(delivery: WaitingDelivery, webhook: KnownWebhook, sentAt: Date): SignedRequest {
    const { eventId: id, event, resourceId, occurredAt: timestamp, envelope: bytes } = delivery
    const outgoing = { id, event, resourceId, timestamp, bytes }
    const attempt = delivery.attempts + 1
    const deadlineMs = asynchronousDeadlineMs
    const traceparent = traces?.traceparent(id, attemptSpanId(delivery.id, attempt))
    return signRequest(webhook, outgoing, {
      deadlineMs,
      userAgent,
      sentAt,
      attempt,
      isAnswerAwaited: false,
      traceparent,
    })
  }

  return async function run(delivery: WaitingDelivery, webhook: KnownWebhook | undefined): Promise<Ran> {
    const reason = reasonNotTo(webhook)
    if (webhook === undefined || reason !== null) {
      const progress = withoutAttempt(delivery, reason ?? 'webhook_deleted', new Date())
      metrics.deliveryExhausted(reason ?? 'webhook_deleted')
      return { progress, result: null }
    }
    const sentAt = new Date()
    metrics.deliveryBegun(delivery.attempts + 1, sentAt.getTime() - delivery.dueAt.getTime())
    const startedAt = performance.now()
    const attempt = await parts.attempt(request(delivery, webhook, sentAt))
    const judged = judgeAttempt(delivery, attempt, sentAt, new Date(), Math.random())
    metrics.deliveryAttempted(judged.progress.status, attempt.durationMs)
    if (judged.progress.reason !== null) metrics.deliveryExhausted(judged.progress.reason)
    traces?.record(delivery.eventId, () => [attemptSpan(delivery, judged.progress, attempt, startedAt)])
    tell(log, delivery, judged.progress, attempt)
    return judged
  }
}

function reasonNotTo(webhook: KnownWebhook | undefined): DeliveryReason | null {
  if (webhook === undefined) return 'webhook_deleted'
  if (webhook.health.deliveriesDisabledAt !== null) return 'webhook_disabled'
  return webhook.active ? null : 'webhook_inactive'
}

/** The one wide line of an attempt: ids, names and milliseconds. */
function tell(log: Log, delivery: WaitingDelivery, progress: DeliveryProgress, attempt: Attempt): void {
  const { workspaceId, id: deliveryId, webhookId, eventId, event } = delivery
  const { status, reason, attempts, dueAt } = progress
  const level = status === 'delivered' ? 'debug' : status === 'exhausted' ? 'warn' : 'info'
  const { status: webhookStatus, failure, durationMs } = attempt
  const ms = Math.round(durationMs)
  const line = {
    deliveryId,
    workspaceId,
    webhookId,
    eventId,
    event,
    status,
    reason,
    attempt: attempts,
    webhookStatus,
    failure,
  }
  log[level]({ ...line, ms, dueAt }, 'delivery')
}
