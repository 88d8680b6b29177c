import { standardWebhookSignature, webhookSignature } from '../crypto/webhook-signature.ts'
import type { SignedRequest } from '../delivery/attempt.ts'
import { resourceTypeOf, type WebhookEvent } from '../domain/events.ts'
import type { WebhookSigning } from './webhook-signing.ts'

/** A webhook's reply may weigh this much: contract.md §3. */
export const maxReplyBytes = 256 * 1024

export interface Outgoing {
  readonly id: string
  readonly event: WebhookEvent
  /** The envelope's: a flow token, or the id of a flow. */
  readonly resourceId: string | null
  /** The envelope's. */
  readonly timestamp: Date
  /** The exact bytes that are sent and signed. */
  readonly bytes: Buffer
}

export interface SignedWebhook extends WebhookSigning {
  readonly id: string
  readonly url: string
}

export interface Sending {
  readonly deadlineMs: number
  readonly userAgent: string
  /** When this attempt is made. */
  readonly sentAt: Date
  /** 1 for the first. */
  readonly attempt: number
  /** Whether the answer goes back to the phone. */
  readonly isAnswerAwaited: boolean
  /** W3C's, where traces are on. */
  readonly traceparent?: string | undefined
}

/** Signs an event's bytes for its webhook, with all headers of contract.md §4. What is not signed cannot be sent. */
export function signRequest(webhook: SignedWebhook, outgoing: Outgoing, sending: Sending): SignedRequest {
  const { id, event, timestamp, bytes } = outgoing
  const { deadlineMs, userAgent, sentAt, attempt, isAnswerAwaited, traceparent } = sending
  const { current, previous } = webhook.signingSecrets(sentAt)
  const live = current === null ? previous : [current, ...previous]
  const sentAtSeconds = Math.floor(sentAt.getTime() / 1000)
  const [lastPrevious] = previous
  const headers: Record<string, string> = {
    ...webhook.headers(),
    'Content-Type': 'application/json',
    'User-Agent': userAgent,
    'X-Webhook-Event': event,
    'X-Webhook-Id': webhook.id,
    'X-Webhook-Event-Id': id,
    'X-Webhook-Resource-Type': resourceTypeOf(event),
    'X-Webhook-Resource-Id': resourceIdHeader(outgoing.resourceId),
    'X-Webhook-Timestamp': timestamp.toISOString(),
    'X-Webhook-Attempt': String(attempt),
    'webhook-id': id,
    'webhook-timestamp': String(sentAtSeconds),
  }
  if (isAnswerAwaited) headers['X-Webhook-Timeout-Ms'] = String(deadlineMs)
  if (traceparent !== undefined) headers.traceparent = traceparent
  if (current !== null) headers['X-Webhook-Signature'] = webhookSignature(bytes, current)
  if (lastPrevious !== undefined) headers['X-Webhook-Signature-Previous'] = webhookSignature(bytes, lastPrevious)
  if (live.length > 0) headers['webhook-signature'] = standardWebhookSignature(id, sentAtSeconds, bytes, live)
  return { webhookId: webhook.id, url: webhook.url, headers, body: bytes, deadlineMs, maxReplyBytes }
}

/** A resource's id as a header value: as it is if it can be, else encoded, empty when there is none or it is too long. */
export function resourceIdHeader(resourceId: string | null): string {
  if (resourceId === null || resourceId.length > 1024) return ''
  // toWellFormed: half a surrogate pair cannot be encoded.
  return /^[\x21-\x7e]*$/.test(resourceId) ? resourceId : encodeURIComponent(resourceId.toWellFormed())
}
