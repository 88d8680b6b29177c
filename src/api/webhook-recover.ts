import { z } from 'zod'
import { mostWaiting } from '../domain/delivery.ts'
import { invalidInput } from '../domain/errors.ts'
import { storageOn } from '../storage/backends.ts'
import { recoverDeliveries } from '../storage/redelivery.ts'
import { findWebhook } from '../storage/webhooks.ts'
import { requireDeliverable } from './deliveries.ts'
import { exampleId, exampleTime } from './example.ts'
import { found } from './existence.ts'
import { pathId, since, until } from './fields.ts'
import { ok, workspaceOperation } from './operation.ts'

export const recover = workspaceOperation({
  summary: 'Attempt again what a webhook never got',
  description:
    'All its deliveries made within the span of which no attempt was a success, the oldest first: with the same bytes and `id`, at the ' +
    `beginning of their schedule. At most ${mostWaiting.toLocaleString('en')} may wait for a webhook: \`isComplete\` false means that there are more, for another call ` +
    'once these are delivered.',
  errors: ['deliveries_disabled', 'webhook_inactive'],
  example: {
    params: { id: exampleId('webhook') },
    body: { since: exampleTime },
    answer: ok({ recovered: 12, isComplete: true }),
  },
  params: pathId('webhook'),
  body: z.strictObject({ since, until: until.optional() }),
  response: { 200: z.object({ recovered: z.int(), isComplete: z.boolean() }) },
  check({ since: from, until: to }) {
    if (to !== undefined && to <= from) throw invalidInput('until', 'must be after since')
  },
  async handle({ deps, workspaceId, params: { id: webhookId }, body: span }) {
    requireDeliverable(found(await findWebhook(deps.database, workspaceId, webhookId), 'webhook'))
    const { work, backend } = deps.database
    const waiting = await storageOn(backend).countWaiting(work, [{ workspaceId, webhookId }], mostWaiting)
    const room = mostWaiting - (waiting.get(webhookId) ?? 0)
    const recovered = await recoverDeliveries(deps.database, workspaceId, webhookId, span, room, deps.ringAnew)
    deps.deliveriesAreDue()
    return ok(recovered)
  },
})
