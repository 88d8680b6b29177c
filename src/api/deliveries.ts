import { z } from 'zod'
import { deliveryReasons, deliveryStatuses } from '../domain/delivery.ts'
import { ApiError } from '../domain/errors.ts'
import { subscribableEvents, umbrellaEvent, type WebhookEvent } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import {
  type DeliveryFilter,
  type DeliverySummary,
  findDelivery,
  listAttempts,
  listDeliveries,
  type RecordedAttempt,
  type RecordedDelivery,
} from '../storage/delivery-log.ts'
import { redeliver as redeliverRow } from '../storage/redelivery.ts'
import { findWebhook, type Webhook } from '../storage/webhooks.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleDeliveryId, exampleExchangeId, exampleId, exampleList, exampleTime } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, reference, since, until, uuidPattern } from './fields.ts'
import { cutInLists, listOf, pageMembers } from './list.ts'
import { isEmptyLog, logPageOf, pageMayBeShort } from './log-page.ts'
import { type ApiDeps, ok, workspaceOperation } from './operation.ts'
import { sentBody } from './sent-body.ts'

const sentEvents = subscribableEvents.filter((event): event is WebhookEvent => event !== umbrellaEvent)
const ms = z.number().nullable()

const deliveryBody = z.object({
  id: z.string(),
  webhookId: z.string(),
  eventId: z.string().describe("the envelope's `id`; of an exchange's event the exchange's"),
  event: z.enum(sentEvents),
  resourceId: z.string().nullable().describe(`the flow token, or the id of a flow; null once emptied; ${cutInLists}`),
  flowId: z.string().nullable(),
  clientId: z.string().nullable(),
  status: z
    .enum(deliveryStatuses)
    .describe('`pending` waits for its first attempt, `failed` for its next; `exhausted`: there is none to come'),
  reason: z.enum(deliveryReasons).nullable().describe('why it is `exhausted`'),
  attemptCount: z.int(),
  lastStatus: z.int().nullable(),
  lastFailure: z.string().nullable(),
  nextAttemptAt: isoTime.nullable(),
  deliveredAt: isoTime.nullable().describe('of its last success; redelivering leaves it'),
  occurredAt: isoTime.describe("the envelope's `timestamp`"),
  createdAt: isoTime,
  updatedAt: isoTime,
})

const attemptBody = z.object({
  id: z.string(),
  number: z.int(),
  createdAt: isoTime,
  status: z.int().nullable(),
  failure: z.string().nullable(),
  durationMs: z.number(),
  connectMs: ms,
  headMs: ms,
  bytes: z.int().describe("of the response's body"),
  responseHeaders: z.record(z.string(), z.union([z.string(), z.array(z.string())])).nullable(),
  responseBody: z.string().nullable().describe('its first 4 KiB'),
})

const wholeDeliveryBody = deliveryBody.extend({
  envelope: z.unknown().describe('what each attempt sends; null once emptied'),
  attempts: z.array(attemptBody).describe('oldest first'),
})

const example = {
  id: exampleDeliveryId,
  webhookId: exampleId('webhook'),
  eventId: exampleExchangeId,
  event: 'whatsapp.flows.init' as const,
  resourceId: 'offer-2026-05-0001',
  flowId: exampleId('flow'),
  clientId: exampleId('client'),
  status: 'failed' as const,
  reason: null,
  attemptCount: 1,
  lastStatus: 503,
  lastFailure: 'bad_status',
  nextAttemptAt: exampleTime,
  deliveredAt: null,
  occurredAt: exampleTime,
  createdAt: exampleTime,
  updatedAt: exampleTime,
}
const wholeExample = {
  ...example,
  envelope: { id: exampleExchangeId, event: example.event, '…': '…' },
  attempts: [
    {
      id: '0196a0b0-5c00-7000-8000-0000000000a1',
      number: 1,
      createdAt: exampleTime,
      status: 503,
      failure: 'bad_status',
      durationMs: 31.5,
      connectMs: 12.1,
      headMs: 31.2,
      bytes: 11,
      responseHeaders: { 'content-type': 'text/plain' },
      responseBody: 'unavailable',
    },
  ],
}

function bodyOf({ attempts, failures: _, dueAt, ...delivery }: DeliverySummary): z.input<typeof deliveryBody> {
  return {
    ...delivery,
    attemptCount: attempts,
    nextAttemptAt: iso(dueAt),
    deliveredAt: iso(delivery.deliveredAt),
    occurredAt: iso(delivery.occurredAt),
    createdAt: iso(delivery.createdAt),
    updatedAt: iso(delivery.updatedAt),
  }
}

function attemptBodyOf({ responseBody, ...attempt }: RecordedAttempt): z.input<typeof attemptBody> {
  const { responseHeaders } = attempt
  return {
    ...attempt,
    createdAt: iso(attempt.createdAt),
    responseHeaders: responseHeaders && { ...responseHeaders },
    responseBody: responseBody?.toString('utf8') ?? null,
  }
}

async function wholeBodyOf(deps: ApiDeps, workspaceId: WorkspaceId, { envelope, ...delivery }: RecordedDelivery) {
  const attempts = await listAttempts(deps.database, workspaceId, delivery.id)
  return {
    ...bodyOf(delivery),
    envelope: sentBody(delivery.eventId, envelope),
    attempts: attempts.map(attemptBodyOf),
  }
}

export const list = workspaceOperation({
  summary: 'List asynchronous deliveries',
  description:
    '`status=never_delivered`: those of which an attempt failed, or to which there is none to come, and none was a success. ' +
    '`eventId` finds all deliveries of one event, such as those of an exchange to its observers. ' +
    pageMayBeShort,
  example: { query: { status: 'never_delivered', limit: 20 }, answer: ok(exampleList(example)) },
  query: z.strictObject({
    ...pageMembers(uuidPattern),
    status: z.enum([...deliveryStatuses, 'never_delivered']).optional(),
    webhookId: reference.optional(),
    event: z.enum(sentEvents).optional(),
    eventId: z.string().regex(uuidPattern, 'must be a UUID').optional(),
    since: since.optional(),
    until: until.optional(),
  }),
  response: { 200: listOf(deliveryBody) },
  async handle({ deps, workspaceId, query }) {
    const wanted: DeliveryFilter = query
    const load = (page: Page) => listDeliveries(deps.database, workspaceId, page, wanted)
    const body = await logPageOf(query, load, bodyOf)
    // Deliveries outlive the webhook they name, so the id is looked up only where nothing was found.
    const { webhookId } = query
    if (isEmptyLog(query, body)) await requireNamed(deps.database, workspaceId, { webhookId })
    return ok(body)
  },
})

const pathDelivery = z.strictObject({ id: z.string().regex(uuidPattern) })

export const get = workspaceOperation({
  summary: 'Read a delivery, with its attempts',
  example: { params: { id: example.id }, answer: ok(wholeExample) },
  params: pathDelivery,
  response: { 200: wholeDeliveryBody },
  async handle({ deps, workspaceId, params }) {
    const delivery = found(await findDelivery(deps.database, workspaceId, params.id), 'delivery')
    return ok(await wholeBodyOf(deps, workspaceId, delivery))
  },
})

/** Whose deliveries end before their first attempt is not asked to make any. Throws ApiError `deliveries_disabled`, `webhook_inactive`. */
export function requireDeliverable(webhook: Pick<Webhook, 'active' | 'deliveriesDisabledAt'>): void {
  if (webhook.deliveriesDisabledAt !== null) {
    throw new ApiError('deliveries_disabled', 'set deliveriesDisabledAt of the webhook to null first')
  }
  if (!webhook.active) throw new ApiError('webhook_inactive', 'set active of the webhook to true first')
}

export const redeliver = workspaceOperation({
  summary: 'Attempt a delivery again',
  description:
    'Now, with the same bytes and `id`, whatever became of it before; if that fails, its schedule begins anew. What was emptied cannot be ' +
    'sent again: 409 `delivery_emptied`.',
  errors: ['delivery_emptied', 'deliveries_disabled', 'webhook_inactive', 'webhook_gone'],
  example: { params: { id: example.id }, answer: ok(wholeExample) },
  params: pathDelivery,
  response: { 200: wholeDeliveryBody },
  async handle({ deps, workspaceId, params: { id } }) {
    const { envelope, webhookId } = found(await findDelivery(deps.database, workspaceId, id), 'delivery')
    if (envelope === null) throw new ApiError('delivery_emptied', 'its envelope is no longer stored')
    const webhook = await findWebhook(deps.database, workspaceId, webhookId)
    if (webhook === null) throw new ApiError('webhook_gone', 'its webhook was removed')
    requireDeliverable(webhook)
    const isDue = await redeliverRow(deps.database, workspaceId, id, deps.ringAnew)
    if (!isDue) throw new ApiError('delivery_emptied', 'its envelope is no longer stored')
    deps.deliveriesAreDue()
    const delivery = found(await findDelivery(deps.database, workspaceId, id), 'delivery')
    return ok(await wholeBodyOf(deps, workspaceId, delivery))
  },
})
