import { z } from 'zod'
import { idPattern } from '../domain/ids.ts'
import { type Channel, findChannel, insertChannel, listChannels } from '../storage/channels.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, metaId, pathId, phoneNumber } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, workspaceOperation } from './operation.ts'

const channelBody = z.object({
  id: z.string(),
  wabaId: z.string(),
  phoneNumberId: z.string(),
  phoneNumber: z.string(),
  createdAt: isoTime,
  updatedAt: isoTime,
})

function bodyOf(channel: Channel): z.input<typeof channelBody> {
  return { ...channel, createdAt: iso(channel.createdAt), updatedAt: iso(channel.updatedAt) }
}

export const create = workspaceOperation({
  body: z.strictObject({ wabaId: metaId, phoneNumberId: metaId, phoneNumber }),
  response: { 201: channelBody },
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { wabaId: body.wabaId })
    const channel = await insertChannel(deps.database, workspaceId, body)
    return created(bodyOf(channel))
  },
})

export const list = workspaceOperation({
  query: z.strictObject(pageMembers(idPattern('channel'))),
  response: { 200: listOf(channelBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listChannels(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  params: pathId('channel'),
  response: { 200: channelBody },
  async handle({ deps, workspaceId, params }) {
    const channel = await findChannel(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(channel, 'channel')))
  },
})
