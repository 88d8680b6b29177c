import { z } from 'zod'
import type { Client } from '../domain/envelope.ts'
import { idPattern } from '../domain/ids.ts'
import { findClient, listClients, upsertClient } from '../storage/clients.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId, phoneNumber, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, workspaceOperation } from './operation.ts'

const clientBody = z.object({
  id: z.string(),
  phoneNumber: z.string(),
  name: z.string().nullable(),
  firstname: z.string().nullable(),
  email: z.string().nullable(),
  createdAt: isoTime,
  updatedAt: isoTime,
})

function bodyOf(client: Client): z.input<typeof clientBody> {
  return { ...client, createdAt: iso(client.createdAt), updatedAt: iso(client.updatedAt) }
}

export const create = workspaceOperation({
  body: z.strictObject({
    phoneNumber,
    name: text(200).nullish(),
    firstname: text(200).nullish(),
    email: text(320).nullish(),
  }),
  response: { 200: clientBody, 201: clientBody },
  async handle({ deps, workspaceId, body }) {
    const { phoneNumber, ...members } = body
    const { client, isNew } = await upsertClient(deps.database, workspaceId, phoneNumber, members)
    return isNew ? created(bodyOf(client)) : ok(bodyOf(client))
  },
})

export const list = workspaceOperation({
  query: z.strictObject(pageMembers(idPattern('client'))),
  response: { 200: listOf(clientBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listClients(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  params: pathId('client'),
  response: { 200: clientBody },
  async handle({ deps, workspaceId, params }) {
    const client = await findClient(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(client, 'client')))
  },
})
