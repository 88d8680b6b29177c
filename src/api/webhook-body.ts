import { z } from 'zod'
import { subscribableEvents } from '../domain/events.ts'
import {
  breakerSchema,
  breakerStates,
  fallbackInput,
  fallbackSchema,
  staticReplyBound,
  timeoutMsRange,
  webhookFormats,
} from '../domain/webhook.ts'
import type { Webhook } from '../storage/webhooks.ts'
import { exampleId, exampleTimes } from './example.ts'
import { iso, isoTime, reference, text, unique } from './fields.ts'
import { webhookHeaders } from './webhook-headers.ts'

const members = {
  name: text(100),
  url: text(2048),
  events: unique(z.array(z.enum(subscribableEvents)).min(1).max(subscribableEvents.length)),
  active: z.boolean(),
  headers: webhookHeaders.nullable(),
  flowIds: unique(z.array(reference).min(1).max(100)).nullable().describe('only events of these flows; null: of all'),
  timeoutMs: z
    .int()
    .min(timeoutMsRange.min)
    .max(timeoutMsRange.max)
    .nullable()
    .describe('for the answer to an exchange; null: `DEADLINE_MS`'),
  fallback: fallbackInput
    .nullable()
    .describe(
      `what Meta gets where there is no valid reply; null: acknowledged. The \`reply\` of a static one is ${staticReplyBound}`,
    ),
  format: z.enum(webhookFormats).describe("`plain`: Meta's decrypted body in place of the envelope"),
  breaker: breakerSchema,
}

export const signingSecretInput = text(255).nullish().describe('left out: one is made; null: requests are not signed')

export const webhookInput = z.strictObject({
  ...members,
  active: members.active.default(true),
  secret: signingSecretInput,
  headers: members.headers.optional(),
  flowIds: members.flowIds.optional(),
  timeoutMs: members.timeoutMs.optional(),
  fallback: members.fallback.optional(),
  format: members.format.default('envelope'),
  breaker: members.breaker.default({ mode: 'on' }),
})

export const webhookChanges = z
  .strictObject({
    ...members,
    secret: text(255)
      .nullable()
      .describe('as `rotate-secret` changes it, with a day of grace; null: requests are not signed'),
    deliveriesDisabledAt: z.null().describe('has asynchronous deliveries made again that were stopped'),
  })
  .partial()

export const webhookBody = z.object({
  id: z.string(),
  name: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  active: z.boolean(),
  headers: z.array(z.string()).describe('names alone: values are sealed'),
  flowIds: z.array(z.string()).nullable(),
  timeoutMs: z.int().nullable(),
  fallback: fallbackSchema.nullable(),
  format: z.enum(webhookFormats),
  breaker: breakerSchema,
  breakers: z
    .array(
      z.object({
        process: z.string().describe("a name the process made for itself; Relevo's log has it beside the machine's"),
        state: z
          .enum(breakerStates)
          .exclude(['closed'])
          .describe('`open`: the fallback goes out at once; `half_open`: single exchanges probe'),
        since: isoTime.describe('since when it is in this state'),
      }),
    )
    .describe(
      'the breakers that are not closed: each process has its own. Empty: all are closed. A second behind at the most; a process that was ' +
        'not heard of for 20 s is left out',
    ),
  signed: z.boolean(),
  deliveriesDisabledAt: isoTime
    .nullable()
    .describe(
      'since when asynchronous deliveries are stopped: after 410, or 5 days of nothing but failures; exchanges go on',
    ),
  failingSince: isoTime.nullable().describe('since when every attempt of an asynchronous delivery failed'),
  createdAt: isoTime,
  updatedAt: isoTime,
})
export const webhookBodyWithSecret = webhookBody.extend({ secret: z.string().nullable() })

export const webhookExampleInput = {
  name: 'Backend',
  url: 'https://backend.example.com/flows',
  events: ['whatsapp.flows.exchanges' as const],
  headers: { 'X-Environment': 'production' },
  flowIds: [exampleId('flow')],
  timeoutMs: 650,
  fallback: { mode: 'stay' as const, errorMessage: 'Please try again in a moment.' },
}
export const webhookExample = {
  id: exampleId('webhook'),
  ...webhookExampleInput,
  headers: ['X-Environment'],
  active: true,
  format: 'envelope' as const,
  breaker: { mode: 'on' as const },
  breakers: [],
  signed: true,
  deliveriesDisabledAt: null,
  failingSince: null,
  ...exampleTimes,
}

export function webhookBodyOf({
  headerNames,
  breakerMode,
  breakers,
  ...webhook
}: Webhook): z.input<typeof webhookBody> {
  return {
    ...webhook,
    headers: headerNames,
    breaker: { mode: breakerMode },
    breakers: breakers.map(({ since, ...breaker }) => ({ ...breaker, since: iso(since) })),
    deliveriesDisabledAt: iso(webhook.deliveriesDisabledAt),
    failingSince: iso(webhook.failingSince),
    createdAt: iso(webhook.createdAt),
    updatedAt: iso(webhook.updatedAt),
  }
}
