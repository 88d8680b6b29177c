import { z } from 'zod'
import { type ExchangeEvent, type Notice, type SubscribableEvent, umbrellaEvent } from './events.ts'
import { countValues, isObject, type JsonObject, parseJsonObject } from './json.ts'

export const webhookFormats = ['envelope', 'plain'] as const
export type WebhookFormat = (typeof webhookFormats)[number]

/** The deadline a webhook may choose for itself, in ms: contract.md §3. */
export const timeoutMsRange = { min: 100, max: 8000 } as const

/** What a webhook chose to have answered when it does not answer itself: contract.md §3 "Fallback". */
export const fallbackSchema = z.discriminatedUnion('mode', [
  z.strictObject({ mode: z.literal('acknowledged') }),
  z.strictObject({ mode: z.literal('stay'), errorMessage: z.string().min(1).max(1000) }),
  z.strictObject({
    mode: z.literal('static'),
    reply: z
      .record(z.string(), z.unknown())
      .refine(isReplyObject, 'must have a non-empty string `screen` or an object `data`')
      .refine(isSound, '`screen` must be a non-empty string and `data` an object where they are given'),
  }),
  z.strictObject({ mode: z.literal('last_good') }),
])
export type WebhookFallback = z.infer<typeof fallbackSchema>

/**
 * Of a static reply that is given. Every relay keeps those of all webhooks, and reads a workspace's anew at each change of it: 500 of 1,000
 * values take 0.2 s. What is stored already may have more.
 */
export const staticReplyBounds = { bytes: 32 * 1024, values: 1000 } as const

export const staticReplyBound = `at most ${staticReplyBounds.bytes} bytes of JSON with ${staticReplyBounds.values} values`

/** A fallback that is given, as opposed to one that is stored. */
export const fallbackInput = fallbackSchema.refine(
  (fallback) => fallback.mode !== 'static' || isSmall(fallback.reply),
  {
    path: ['reply'],
    message: `must be ${staticReplyBound}`,
  },
)

function isSmall(reply: JsonObject): boolean {
  const { bytes, values } = staticReplyBounds
  return Buffer.byteLength(JSON.stringify(reply)) <= bytes && countValues(reply) <= values
}

export const breakerSchema = z.strictObject({ mode: z.enum(['on', 'off']) })
export type BreakerMode = z.infer<typeof breakerSchema>['mode']

export const breakerStates = ['closed', 'open', 'half_open'] as const
export type BreakerState = (typeof breakerStates)[number]

/** What decides whether a webhook answers. */
export interface WebhookSubscription {
  readonly id: string
  readonly active: boolean
  readonly events: readonly SubscribableEvent[]
  /** Our flow ids; null takes every flow. */
  readonly flowIds: readonly string[] | null
  readonly createdAt: Date
}

export interface ChosenWebhooks<W> {
  readonly responder: W | null
  /** The other candidates: they are told, not asked. */
  readonly observers: readonly W[]
}

/**
 * Which webhook answers an exchange and which others are told (contract.md §3): with `flowIds` before without, granular
 * before umbrella, older first.
 */
export function chooseWebhook<W extends WebhookSubscription>(
  webhooks: readonly W[],
  event: ExchangeEvent,
  flowId: string | null,
): ChosenWebhooks<W> {
  const candidates = webhooks.filter((webhook) => takes(webhook, event, flowId))
  if (candidates.length > 1) candidates.sort((a, b) => rank(a, event) - rank(b, event) || older(a, b))
  const [responder = null, ...observers] = candidates
  return { responder, observers }
}

/** The webhooks that are told of a notice: active, subscribed to it, and to its flow if they chose flows. */
export function subscribersOf<W extends WebhookSubscription>(
  webhooks: readonly W[],
  event: Notice,
  flowId: string | null,
): W[] {
  return webhooks.filter((webhook) => webhook.active && webhook.events.includes(event) && takesFlow(webhook, flowId))
}

function takes(webhook: WebhookSubscription, event: ExchangeEvent, flowId: string | null): boolean {
  if (!webhook.active) return false
  if (!webhook.events.includes(event) && !webhook.events.includes(umbrellaEvent)) return false
  return takesFlow(webhook, flowId)
}

function takesFlow({ flowIds }: WebhookSubscription, flowId: string | null): boolean {
  return flowIds === null || (flowId !== null && flowIds.includes(flowId))
}

function rank(webhook: WebhookSubscription, event: ExchangeEvent): number {
  return (webhook.flowIds === null ? 2 : 0) + (webhook.events.includes(event) ? 0 : 1)
}

function older(a: WebhookSubscription, b: WebhookSubscription): number {
  return a.createdAt.getTime() - b.createdAt.getTime() || (a.id < b.id ? -1 : 1)
}

/** What counts as a reply (contract.md §3): `data` an object, or `screen` a non-empty string. */
export function isReplyObject(reply: JsonObject): boolean {
  return screenOf(reply) !== null || dataOf(reply) !== null
}

/** What a tenant's backend may get wrong now and then, a stored reply may not: phones would refuse it each time. */
function isSound(reply: JsonObject): boolean {
  return (
    (reply.screen === undefined || screenOf(reply) !== null) && (reply.data === undefined || dataOf(reply) !== null)
  )
}

/** A reply's screen, or null where it has none that counts. */
export function screenOf(reply: JsonObject): string | null {
  return typeof reply.screen === 'string' && reply.screen !== '' ? reply.screen : null
}

/** A reply's data, or null where it is not an object. */
export function dataOf(reply: JsonObject): JsonObject | null {
  return isObject(reply.data) ? reply.data : null
}

/** The screen and data of an answer as it was sent, or null when it is not a JSON object. */
export function readAnswer(answer: string): { screen: string | null; data: JsonObject | null } | null {
  const parsed = parseJsonObject(answer)
  return parsed && { screen: screenOf(parsed), data: dataOf(parsed) }
}
