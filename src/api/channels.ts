import { z } from 'zod'
import { idPattern } from '../domain/ids.ts'
import {
  type Channel,
  deleteChannel,
  findChannel,
  insertChannel,
  listChannels,
  updateChannel,
} from '../storage/channels.ts'
import { exampleId, exampleList, exampleTimes, exampleWabaId } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, metaId, pathId, phoneNumber } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, workspaceOperation } from './operation.ts'

const channelInput = z.strictObject({ wabaId: metaId, phoneNumberId: metaId, phoneNumber })

const channelBody = z.object({
  id: z.string(),
  wabaId: z.string(),
  phoneNumberId: z.string(),
  phoneNumber: z.string(),
  createdAt: isoTime,
  updatedAt: isoTime,
})

const exampleInput = { wabaId: exampleWabaId, phoneNumberId: '200000000000001', phoneNumber: '+5215555550100' }
const example = { id: exampleId('channel'), ...exampleInput, ...exampleTimes }

function bodyOf(channel: Channel): z.input<typeof channelBody> {
  return { ...channel, createdAt: iso(channel.createdAt), updatedAt: iso(channel.updatedAt) }
}

export const create = workspaceOperation({
  summary: 'Register a channel: a phone number of a WABA',
  errors: ['already_exists'],
  example: { body: exampleInput, answer: created(example) },
  body: channelInput,
  response: { 201: channelBody },
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { wabaId: body.wabaId })
    const channel = await insertChannel(deps.database, workspaceId, body)
    return created(bodyOf(channel))
  },
})

export const list = workspaceOperation({
  summary: 'List channels',
  example: { answer: ok(exampleList(example)) },
  query: z.strictObject(pageMembers(idPattern('channel'))),
  response: { 200: listOf(channelBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listChannels(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  summary: 'Read a channel',
  example: { params: { id: example.id }, answer: ok(example) },
  params: pathId('channel'),
  response: { 200: channelBody },
  async handle({ deps, workspaceId, params }) {
    const channel = await findChannel(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(channel, 'channel')))
  },
})

export const update = workspaceOperation({
  summary: 'Change a channel',
  errors: ['already_exists'],
  example: { params: { id: example.id }, body: { phoneNumber: example.phoneNumber }, answer: ok(example) },
  params: pathId('channel'),
  body: channelInput.partial(),
  response: { 200: channelBody },
  async handle({ deps, workspaceId, params, body }) {
    await requireNamed(deps.database, workspaceId, { wabaId: body.wabaId })
    return ok(bodyOf(await updateChannel(deps.database, workspaceId, params.id, body)))
  },
})

export const remove = workspaceOperation({
  summary: 'Remove a channel',
  example: { params: { id: example.id }, answer: noContent() },
  params: pathId('channel'),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await deleteChannel(deps.database, workspaceId, params.id)
    return noContent()
  },
})
