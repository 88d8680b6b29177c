import { updateWebhook } from '../storage/webhooks.ts'
import { pathId } from './fields.ts'
import { ok, workspaceOperation } from './operation.ts'
import { webhookBody, webhookBodyOf, webhookExample } from './webhook-body.ts'

export const closeBreaker = workspaceOperation({
  summary: 'Close the breaker of a webhook',
  description:
    'For a webhook that is mended: it is asked again at once, and what it failed before is forgotten. Done before the answer in this process, ' +
    'within a second in the others. Does nothing where the breaker is closed; a webhook that goes on failing opens it again.',
  example: { params: { id: webhookExample.id }, answer: ok(webhookExample) },
  params: pathId('webhook'),
  response: { 200: webhookBody },
  async handle({ deps, workspaceId, params }) {
    const webhook = await updateWebhook(deps.database, workspaceId, params.id, { breakerClosedAt: new Date() })
    await deps.configChanged(workspaceId)
    return ok(webhookBodyOf(webhook))
  },
})
