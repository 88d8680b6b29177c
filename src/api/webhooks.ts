import { z } from 'zod'
import { sealSecret } from '../crypto/sealed-secret.ts'
import { generateWebhookSecret } from '../crypto/webhook-signature.ts'
import { invalidInput } from '../domain/errors.ts'
import { subscribableEvents } from '../domain/events.ts'
import { idPattern, newId, type WorkspaceId } from '../domain/ids.ts'
import { breakerSchema, fallbackSchema, timeoutMsRange, webhookFormats } from '../domain/webhook.ts'
import { findWebhook, insertWebhook, listWebhooks, type NewWebhook, type Webhook } from '../storage/webhooks.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, pathId, reference, text, unique } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { type ApiDeps, created, ok, workspaceOperation } from './operation.ts'
import { webhookHeaders } from './webhook-headers.ts'

const webhookInput = z.strictObject({
  name: text(100),
  url: text(2048),
  events: unique(z.array(z.enum(subscribableEvents)).min(1)),
  active: z.boolean().default(true),
  /** Left out: one is made. Null: unsigned. */
  secret: text(255).nullish(),
  headers: webhookHeaders.nullish(),
  flowIds: unique(z.array(reference).min(1).max(100)).nullish(),
  timeoutMs: z.int().min(timeoutMsRange.min).max(timeoutMsRange.max).nullish(),
  fallback: fallbackSchema.nullish(),
  format: z.enum(webhookFormats).default('envelope'),
  breaker: breakerSchema.default({ mode: 'on' }),
})
type WebhookInput = z.output<typeof webhookInput>

const webhookBody = z.object({
  id: z.string(),
  name: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  active: z.boolean(),
  /** Names alone: values are sealed. */
  headers: z.array(z.string()),
  flowIds: z.array(z.string()).nullable(),
  timeoutMs: z.int().nullable(),
  fallback: fallbackSchema.nullable(),
  format: z.enum(webhookFormats),
  breaker: breakerSchema,
  signed: z.boolean(),
  createdAt: isoTime,
  updatedAt: isoTime,
})
const newWebhookBody = webhookBody.extend({ secret: z.string().nullable() })

function bodyOf({ headerNames, breakerMode, ...webhook }: Webhook): z.input<typeof webhookBody> {
  return {
    ...webhook,
    headers: headerNames,
    breaker: { mode: breakerMode },
    createdAt: iso(webhook.createdAt),
    updatedAt: iso(webhook.updatedAt),
  }
}

function requireCallable({ url }: WebhookInput, deps: ApiDeps): void {
  const refusal = deps.refusalOfUrl(url)
  if (refusal !== null) throw invalidInput('url', refusal)
}

export const create = workspaceOperation({
  body: webhookInput,
  response: { 201: newWebhookBody },
  check: requireCallable,
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { flowIds: body.flowIds })
    const secret = body.secret === undefined ? generateWebhookSecret() : body.secret
    const row = rowOf(body, deps, workspaceId)
    const webhook = await insertWebhook(deps.database, workspaceId, row, sealedSigningSecret(secret, deps, workspaceId))
    await deps.configChanged(workspaceId)
    return created({ ...bodyOf(webhook), secret })
  },
})

function rowOf(body: WebhookInput, deps: ApiDeps, workspaceId: WorkspaceId): NewWebhook {
  const id = newId('webhook')
  const headers = body.headers ?? {}
  const headerNames = Object.keys(headers)
  const place = { purpose: 'webhook_headers', workspaceId, rowId: id } as const
  return {
    id,
    name: body.name,
    url: body.url,
    events: body.events,
    active: body.active,
    headersSealed: headerNames.length > 0 ? sealSecret(JSON.stringify(headers), place, deps.masterKeys) : null,
    headerNames,
    flowIds: body.flowIds ?? null,
    timeoutMs: body.timeoutMs ?? null,
    fallback: body.fallback ?? null,
    format: body.format,
    breakerMode: body.breaker.mode,
  }
}

function sealedSigningSecret(secret: string | null, deps: ApiDeps, workspaceId: WorkspaceId) {
  if (secret === null) return null
  const id = newId('webhookSecret')
  const place = { purpose: 'webhook_secret', workspaceId, rowId: id } as const
  return { id, signingSecretSealed: sealSecret(secret, place, deps.masterKeys) }
}

export const list = workspaceOperation({
  query: z.strictObject(pageMembers(idPattern('webhook'))),
  response: { 200: listOf(webhookBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listWebhooks(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  params: pathId('webhook'),
  response: { 200: webhookBody },
  async handle({ deps, workspaceId, params }) {
    const webhook = await findWebhook(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(webhook, 'webhook')))
  },
})
