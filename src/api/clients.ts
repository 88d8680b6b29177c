import { z } from 'zod'
import { idPattern } from '../domain/ids.ts'
import { findClient, listClients, type StoredClient, updateClient, upsertClient } from '../storage/clients.ts'
import { expungeClient } from '../storage/expunge.ts'
import { exampleId, exampleList, exampleTimes } from './example.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId, phoneNumber, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, workspaceOperation } from './operation.ts'

const mostAttributeBytes = 16 * 1024

/** What a workspace keeps of a client for itself. Relevo does not look into it and sends it to nobody. */
const attributes = z
  .record(z.string(), z.unknown())
  .refine(
    (value) => Buffer.byteLength(JSON.stringify(value)) <= mostAttributeBytes,
    `must be at most ${mostAttributeBytes} bytes of JSON`,
  )

const clientInput = z.strictObject({
  phoneNumber,
  name: text(200).nullish(),
  firstname: text(200).nullish(),
  email: text(320).nullish(),
  attributes: attributes.optional(),
})

const clientBody = z.object({
  id: z.string(),
  phoneNumber: z.string(),
  name: z.string().nullable(),
  firstname: z.string().nullable(),
  email: z.string().nullable(),
  attributes: z.record(z.string(), z.unknown()),
  createdAt: isoTime,
  updatedAt: isoTime,
})

const exampleInput = {
  phoneNumber: '+5215555550101',
  name: 'Example Person',
  firstname: 'Example',
  email: 'person@example.com',
  attributes: { plan: 'gold' },
}
const example = { id: exampleId('client'), ...exampleInput, ...exampleTimes }

function bodyOf(client: StoredClient): z.input<typeof clientBody> {
  const { attributes, createdAt, updatedAt } = client
  return { ...client, attributes: { ...attributes }, createdAt: iso(createdAt), updatedAt: iso(updatedAt) }
}

export const create = workspaceOperation({
  summary: 'Make a client, or change the one with this phone number',
  description:
    'Answers 201 where the client is new and 200 where it was found. Members that are left out stay as they are; `attributes` are replaced as a whole.',
  example: { body: exampleInput, answer: created(example) },
  body: clientInput,
  response: { 200: clientBody, 201: clientBody },
  async handle({ deps, workspaceId, body }) {
    const { phoneNumber, ...members } = body
    const { client, isNew } = await upsertClient(deps.database, workspaceId, phoneNumber, members)
    return isNew ? created(bodyOf(client)) : ok(bodyOf(client))
  },
})

export const list = workspaceOperation({
  summary: 'List clients',
  example: { answer: ok(exampleList(example)) },
  query: z.strictObject(pageMembers(idPattern('client'))),
  response: { 200: listOf(clientBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listClients(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  summary: 'Read a client',
  example: { params: { id: example.id }, answer: ok(example) },
  params: pathId('client'),
  response: { 200: clientBody },
  async handle({ deps, workspaceId, params }) {
    const client = await findClient(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(client, 'client')))
  },
})

export const update = workspaceOperation({
  summary: 'Change a client',
  description: 'Members that are left out stay as they are; `attributes` are replaced as a whole.',
  errors: ['already_exists'],
  example: { params: { id: example.id }, body: { attributes: example.attributes }, answer: ok(example) },
  params: pathId('client'),
  body: clientInput.partial(),
  response: { 200: clientBody },
  async handle({ deps, workspaceId, params, body }) {
    return ok(bodyOf(await updateClient(deps.database, workspaceId, params.id, body)))
  },
})

export const remove = workspaceOperation({
  summary: 'Expunge a client: remove the person from all that is stored',
  description:
    'Removes the client, its conversations and its flow responses, and empties its exchanges and deliveries: their outcomes and ' +
    'times stay, what was sent and answered goes. Deliveries that wait end as `expunged`. The header `X-Expunged` counts them: ' +
    '`exchanges=3,flowResponses=2,conversations=1,deliveries=2`. Answers kept for an `Idempotency-Key` that tell of the person go too: ' +
    'the same call again is then a new one.',
  example: { params: { id: example.id }, answer: noContent() },
  params: pathId('client'),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    const expunged = await expungeClient(deps.database, workspaceId, params.id)
    const counts = Object.entries(expunged).map(([what, count]) => `${what}=${count}`)
    return { ...noContent(), headers: { 'x-expunged': counts.join(',') } }
  },
})
