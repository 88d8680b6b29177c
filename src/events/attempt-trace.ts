import type { Attempt } from '../delivery/attempt.ts'
import { isExchangeEvent } from '../domain/events.ts'
import type { EndedSpan } from '../ops/span.ts'
import { attemptSpanId, exchangeSpanId } from '../ops/trace-ids.ts'
import type { DeliveryProgress, WaitingDelivery } from '../storage/delivery-work.ts'

/** One attempt of an asynchronous delivery, as a span. `startedAt`: performance.now(). */
export function attemptSpan(
  { workspaceId, id, webhookId, eventId, event }: WaitingDelivery,
  progress: DeliveryProgress,
  attempt: Attempt,
  startedAt: number,
): EndedSpan {
  return {
    name: 'delivery',
    kind: 'client',
    spanId: attemptSpanId(id, progress.attempts),
    // Such an envelope has the exchange's own id.
    parentSpanId: isExchangeEvent(event) ? exchangeSpanId(eventId) : null,
    startedAt,
    durationMs: attempt.durationMs,
    attributes: {
      'http.request.method': 'POST',
      'http.response.status_code': attempt.status,
      'relevo.delivery_id': id,
      'relevo.delivery_status': progress.status,
      'relevo.attempt': progress.attempts,
      'relevo.event': event,
      'relevo.event_id': eventId,
      'relevo.workspace_id': workspaceId,
      'relevo.webhook_id': webhookId,
    },
    error: progress.attempt?.failure ?? null,
  }
}
