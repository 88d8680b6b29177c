import { z } from 'zod'
import type { Attempt } from '../delivery/attempt.ts'
import { asynchronousDeadlineMs } from '../domain/delivery.ts'
import { sampleOf } from '../domain/event-samples.ts'
import {
  isExchangeEvent,
  type SubscribableEvent,
  subscribableEvents,
  umbrellaEvent,
  type WebhookEvent,
} from '../domain/events.ts'
import { newUuid, type WorkspaceId } from '../domain/ids.ts'
import { type Outcome, outcomeNames } from '../domain/outcome.ts'
import { readReply } from '../domain/reply.ts'
import { deliveryFailureOf } from '../events/attempt-judgement.ts'
import { signRequest } from '../events/signed-request.ts'
import { Unsealer, webhookSigning } from '../events/webhook-signing.ts'
import { findSendableWebhook, type SendableWebhook } from '../storage/webhook-secrets.ts'
import { exampleExchangeId, exampleId } from './example.ts'
import { found } from './existence.ts'
import { pathId } from './fields.ts'
import { type ApiDeps, ok, workspaceOperation } from './operation.ts'

const ms = z.number()

const testBody = z.object({
  id: z.string().describe("the envelope's"),
  event: z.string(),
  attempt: z.object({
    status: z.int().nullable(),
    failure: z.enum(outcomeNames).nullable(),
    durationMs: ms,
    connectMs: ms.nullable(),
    headMs: ms.nullable(),
    bytes: z.int(),
  }),
})

export const run = workspaceOperation({
  summary: 'Send a sample of an event to a webhook',
  description:
    'The sample goes the way of the real one: signed, past the address guard, on the connections of exchanges, within the deadline ' +
    '(15 s for events whose answer is not awaited). Without `event` it is the first exchange event that the webhook takes. The data ' +
    'is made up, the id is new at each call. `failure` is null when the answer would do, else the outcome that an exchange would have. ' +
    'Inactive webhooks can be tested too; the breaker neither stops a test nor counts it.',
  example: {
    params: { id: exampleId('webhook') },
    body: { event: 'whatsapp.flows.init' },
    answer: ok({
      id: exampleExchangeId,
      event: 'whatsapp.flows.init',
      attempt: { status: 200, failure: null, durationMs: 79.6, connectMs: 12.1, headMs: 79.1, bytes: 30 },
    }),
  },
  params: pathId('webhook'),
  body: z.strictObject({ event: z.enum(subscribableEvents).optional() }),
  response: { 200: testBody },
  async handle({ deps, workspaceId, params, body }) {
    const webhook = found(await findSendableWebhook(deps.database, workspaceId, params.id), 'webhook')
    const event = sentFor(body.event ?? firstEventOf(webhook))
    const id = newUuid()
    const attempt = await deps.attempt(sampleRequest(webhook, event, id, workspaceId, deps))
    const { status, durationMs, connectMs, headMs, bytes } = attempt
    return ok({
      id,
      event,
      attempt: { status, failure: failureOf(attempt, event), durationMs, connectMs, headMs, bytes },
    })
  },
})

/** Exchange events before others. */
function firstEventOf({ events }: SendableWebhook): SubscribableEvent {
  const isExchange = (event: SubscribableEvent) => event === umbrellaEvent || isExchangeEvent(event)
  const wanted = subscribableEvents.filter((event) => events.includes(event))
  return wanted.find(isExchange) ?? wanted[0] ?? umbrellaEvent
}

/** The umbrella itself is never sent. */
function sentFor(event: SubscribableEvent): WebhookEvent {
  return event === umbrellaEvent ? 'whatsapp.flows.init' : event
}

function sampleRequest(
  webhook: SendableWebhook,
  event: WebhookEvent,
  id: string,
  workspaceId: WorkspaceId,
  deps: ApiDeps,
) {
  const now = new Date()
  const { resourceId, envelope, plain } = sampleOf(event, { id, workspaceId, now })
  const bytes = Buffer.from((webhook.format === 'plain' ? plain : null) ?? envelope)
  const unsealer = new Unsealer(deps.masterKeys, ({ purpose, rowId }) =>
    deps.reportError(new Error(`${purpose} of ${rowId} does not open under MASTER_KEY`), 'POST /v1/webhooks/:id/test'),
  )
  const { url } = webhook
  const signing = webhookSigning(webhook, workspaceId, unsealer)
  const deadlineMs = isExchangeEvent(event) ? (webhook.timeoutMs ?? deps.deadlineMs) : asynchronousDeadlineMs
  const outgoing = { id, event, resourceId, timestamp: now, bytes }
  return signRequest({ id: webhook.id, url, ...signing }, outgoing, {
    deadlineMs,
    userAgent: deps.userAgent,
    sentAt: now,
    attempt: 1,
    isAnswerAwaited: isExchangeEvent(event),
  })
}

/** As an exchange would be judged, or as a delivery where no answer is awaited. */
function failureOf(attempt: Attempt, event: WebhookEvent): Outcome | null {
  if (!isExchangeEvent(event)) return deliveryFailureOf(attempt)
  const { failure, status, body } = attempt
  if (failure !== null) return failure
  const read = readReply(status ?? 0, body ?? Buffer.alloc(0))
  return read.kind === 'problem' ? read.problem : null
}
