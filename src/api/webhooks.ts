import { z } from 'zod'
import { generateWebhookSecret } from '../crypto/webhook-signature.ts'
import { invalidInput } from '../domain/errors.ts'
import { idPattern, newId, type WorkspaceId } from '../domain/ids.ts'
import { rotateSigningSecret } from '../storage/webhook-secrets.ts'
import {
  deleteWebhook,
  findWebhook,
  insertWebhook,
  listWebhooks,
  mostWebhooks,
  type NewSigningSecret,
  updateWebhook,
} from '../storage/webhooks.ts'
import { exampleList } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { pathId } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { type ApiDeps, created, noBody, noContent, ok, workspaceOperation } from './operation.ts'
import { sealerFor } from './sealing.ts'
import {
  signingSecretInput,
  webhookBody,
  webhookBodyOf,
  webhookBodyWithSecret,
  webhookChanges,
  webhookExample,
  webhookExampleInput,
  webhookInput,
} from './webhook-body.ts'

function requireCallable({ url }: { readonly url?: string | undefined }, deps: ApiDeps): void {
  const refusal = url === undefined ? null : deps.refusalOfUrl(url)
  if (refusal !== null) throw invalidInput('url', refusal)
}

/** Header values sealed for their webhook, and their names to be shown. */
function headerColumns(
  headers: Readonly<Record<string, string>> | null,
  webhookId: string,
  deps: ApiDeps,
  workspaceId: WorkspaceId,
) {
  const headerNames = Object.keys(headers ?? {})
  const seal = sealerFor(deps, workspaceId)
  const headersSealed = headerNames.length > 0 ? seal('webhook_headers', webhookId, JSON.stringify(headers)) : null
  return { headerNames, headersSealed }
}

function signingSecretRow(secret: string | null, deps: ApiDeps, workspaceId: WorkspaceId): NewSigningSecret | null {
  if (secret === null) return null
  const id = newId('webhookSecret')
  return { id, signingSecretSealed: sealerFor(deps, workspaceId)('webhook_secret', id, secret) }
}

export const create = workspaceOperation({
  summary: 'Make a webhook',
  description:
    '`secret` left out: one is made; null: requests are not signed. The answer and that of a rotation alone show it. ' +
    `A workspace has at most ${mostWebhooks}.`,
  errors: ['limit_reached'],
  example: { body: webhookExampleInput, answer: created({ ...webhookExample, secret: 'whsec_…' }) },
  body: webhookInput,
  response: { 201: webhookBodyWithSecret },
  check: requireCallable,
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { flowIds: body.flowIds })
    const { secret = generateWebhookSecret(), headers = null, breaker, ...members } = body
    const id = newId('webhook')
    const row = {
      id,
      ...members,
      ...headerColumns(headers, id, deps, workspaceId),
      flowIds: members.flowIds ?? null,
      timeoutMs: members.timeoutMs ?? null,
      fallback: members.fallback ?? null,
      breakerMode: breaker.mode,
    }
    const webhook = await insertWebhook(deps.database, workspaceId, row, signingSecretRow(secret, deps, workspaceId))
    await deps.configChanged(workspaceId)
    return created({ ...webhookBodyOf(webhook), secret })
  },
})

export const list = workspaceOperation({
  summary: 'List webhooks',
  example: { answer: ok(exampleList(webhookExample)) },
  query: z.strictObject(pageMembers(idPattern('webhook'))),
  response: { 200: listOf(webhookBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listWebhooks(deps.database, workspaceId, page), byId, webhookBodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  summary: 'Read a webhook',
  example: { params: { id: webhookExample.id }, answer: ok(webhookExample) },
  params: pathId('webhook'),
  response: { 200: webhookBody },
  async handle({ deps, workspaceId, params }) {
    const webhook = await findWebhook(deps.database, workspaceId, params.id)
    return ok(webhookBodyOf(found(webhook, 'webhook')))
  },
})

export const update = workspaceOperation({
  summary: 'Change a webhook',
  description:
    'Members that are left out stay as they are, null empties; `headers` are replaced as a whole, and `secret` is rotated with a day of grace. ' +
    'In force before the answer in this process, within a second in the others.',
  errors: ['limit_reached'],
  example: { params: { id: webhookExample.id }, body: { timeoutMs: 650 }, answer: ok(webhookExample) },
  params: pathId('webhook'),
  body: webhookChanges,
  response: { 200: webhookBody },
  check: requireCallable,
  async handle({ deps, workspaceId, params, body }) {
    await requireNamed(deps.database, workspaceId, { flowIds: body.flowIds })
    const { headers, breaker, secret, ...members } = body
    const columns = headers === undefined ? {} : headerColumns(headers, params.id, deps, workspaceId)
    const changes = { ...members, ...columns, breakerMode: breaker?.mode }
    // First: where it is refused nothing is changed.
    if (secret !== undefined) await rotate(deps, workspaceId, params.id, secret, day)
    const webhook = await updateWebhook(deps.database, workspaceId, params.id, changes)
    await deps.configChanged(workspaceId)
    return ok(webhookBodyOf(webhook))
  },
})

export const remove = workspaceOperation({
  summary: 'Remove a webhook',
  example: { params: { id: webhookExample.id }, answer: noContent() },
  params: pathId('webhook'),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await deleteWebhook(deps.database, workspaceId, params.id)
    await deps.configChanged(workspaceId)
    return noContent()
  },
})

const day = 86_400

function rotate(deps: ApiDeps, workspaceId: WorkspaceId, id: string, secret: string | null, graceSeconds: number) {
  const signingSecret = signingSecretRow(secret, deps, workspaceId)
  return rotateSigningSecret(deps.database, workspaceId, id, {
    signingSecret,
    now: new Date(),
    graceMs: graceSeconds * 1000,
  })
}

export const rotateSecret = workspaceOperation({
  summary: 'Change the signing secret of a webhook',
  description:
    '`secret` left out: one is made; null: requests are no longer signed. For `graceSeconds` requests are signed with the old secret ' +
    'as well: in `X-Webhook-Signature-Previous`, and with one `v1` for each live secret in `webhook-signature`. A secret that is ' +
    'already in its grace period keeps its end.',
  errors: ['limit_reached'],
  example: {
    params: { id: webhookExample.id },
    body: { graceSeconds: day },
    answer: ok({ ...webhookExample, secret: 'whsec_…' }),
  },
  params: pathId('webhook'),
  body: z.strictObject({
    secret: signingSecretInput,
    graceSeconds: z
      .int()
      .min(0)
      .max(7 * day)
      .default(day),
  }),
  response: { 200: webhookBodyWithSecret },
  async handle({ deps, workspaceId, params, body }) {
    const { secret = generateWebhookSecret(), graceSeconds } = body
    const webhook = await rotate(deps, workspaceId, params.id, secret, graceSeconds)
    await deps.configChanged(workspaceId)
    return ok({ ...webhookBodyOf(webhook), secret })
  },
})
