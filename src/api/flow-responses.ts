import { z } from 'zod'
import { flowResponseStatuses, isSharedToken, statusAt } from '../domain/flow-response.ts'
import { idPattern } from '../domain/ids.ts'
import {
  type FlowResponseOwner,
  findFlowResponse,
  listFlowResponses,
  type StoredFlowResponse,
  sendStatuses,
  updateFlowResponse,
  upsertFlowResponse,
} from '../storage/flow-responses.ts'
import { sendStatusOf } from '../storage/sends.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleId, exampleList, exampleTime, exampleTimes } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, pathId, phoneNumber, reference, text, time } from './fields.ts'
import { byId, cutInLists, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, workspaceOperation } from './operation.ts'

const flowToken = text(4096)

const hasOneOwner = (body: { readonly phoneNumber?: unknown; readonly clientId?: unknown }) =>
  body.phoneNumber === undefined || body.clientId === undefined
const twoOwners = { path: ['phoneNumber'], message: 'must not stand beside clientId' }

const flowResponseInput = z
  .strictObject({
    flowToken: flowToken.refine((token) => !isSharedToken(token), 'is a token that strangers share: send your own'),
    flowId: reference.optional(),
    phoneNumber: phoneNumber.optional(),
    clientId: reference.optional(),
    conversationId: reference.optional(),
    channelId: reference.optional(),
    messageId: text(255).optional(),
    campaignId: text(255).optional(),
    agentId: text(255).optional(),
    sentAt: time.optional(),
    expiresAt: time.optional(),
  })
  .refine(hasOneOwner, twoOwners)

/** What was told of the token, which stays: the status and the times of what happened are Relevo's own. */
const flowResponseChanges = z
  .strictObject({
    flowId: reference.nullable(),
    phoneNumber,
    clientId: reference.nullable(),
    conversationId: reference.nullable(),
    channelId: reference.nullable(),
    messageId: text(255).nullable(),
    campaignId: text(255).nullable(),
    agentId: text(255).nullable(),
    sentAt: time,
    expiresAt: time,
  })
  .partial()
  .refine(hasOneOwner, twoOwners)

const flowResponseBody = z.object({
  id: z.string(),
  flowToken: z.string().describe(cutInLists),
  status: z.enum(flowResponseStatuses),
  sendStatus: z
    .enum(sendStatuses)
    .nullable()
    .describe(
      'how the call that sent the flow ended; null where Relevo did not send it. `unknown`: Meta did not answer in time',
    ),
  flowId: z.string().nullable(),
  sentAt: isoTime.nullable(),
  openedAt: isoTime.nullable(),
  lastActivityAt: isoTime.nullable(),
  completedAt: isoTime.nullable(),
  expiresAt: isoTime,
  clientId: z.string().nullable(),
  conversationId: z.string().nullable(),
  messageId: z.string().nullable(),
  campaignId: z.string().nullable(),
  agentId: z.string().nullable(),
  channelId: z.string().nullable(),
  createdAt: isoTime,
  updatedAt: isoTime,
})

const exampleInput = {
  flowToken: 'offer-2026-05-0001',
  flowId: exampleId('flow'),
  clientId: exampleId('client'),
  conversationId: exampleId('conversation'),
  channelId: exampleId('channel'),
  messageId: 'wamid.example',
  campaignId: 'may-offers',
  sentAt: exampleTime,
}
const example = {
  id: exampleId('flowResponse'),
  ...exampleInput,
  status: 'SENT' as const,
  sendStatus: null,
  openedAt: null,
  lastActivityAt: null,
  completedAt: null,
  expiresAt: '2026-05-07T18:59:00.000Z',
  agentId: null,
  ...exampleTimes,
}

function bodyOf(flowResponse: StoredFlowResponse): z.input<typeof flowResponseBody> {
  return {
    ...flowResponse,
    status: statusAt(flowResponse, new Date()),
    sendStatus: sendStatusOf(flowResponse),
    sentAt: iso(flowResponse.sentAt),
    openedAt: iso(flowResponse.openedAt),
    lastActivityAt: iso(flowResponse.lastActivityAt),
    completedAt: iso(flowResponse.completedAt),
    expiresAt: iso(flowResponse.expiresAt),
    createdAt: iso(flowResponse.createdAt),
    updatedAt: iso(flowResponse.updatedAt),
  }
}

function ownerOf({ clientId, phoneNumber }: z.output<typeof flowResponseInput>): FlowResponseOwner {
  if (clientId !== undefined) return { clientId }
  return phoneNumber === undefined ? null : { phoneNumber }
}

export const create = workspaceOperation({
  summary: 'Tell of a flow that was sent, or change what is known of its flow token',
  description:
    'Answers 201 where the flow token is new and 200 where it was known. Members that are left out stay as they are.',
  example: { body: exampleInput, answer: created(example) },
  body: flowResponseInput,
  response: { 200: flowResponseBody, 201: flowResponseBody },
  async handle({ deps, workspaceId, body }) {
    const { flowToken, phoneNumber: _phoneNumber, clientId, ...members } = body
    const { flowId, conversationId, channelId } = members
    await requireNamed(deps.database, workspaceId, { flowId, clientId, conversationId, channelId })
    const owner = ownerOf(body)
    const { flowResponse, isNew } = await upsertFlowResponse(deps.database, workspaceId, flowToken, owner, members)
    return isNew ? created(bodyOf(flowResponse)) : ok(bodyOf(flowResponse))
  },
})

export const list = workspaceOperation({
  summary: 'List flow responses',
  example: { query: { flowToken: example.flowToken }, answer: ok(exampleList(example)) },
  query: z.strictObject({ ...pageMembers(idPattern('flowResponse')), flowToken: flowToken.optional() }),
  response: { 200: listOf(flowResponseBody) },
  async handle({ deps, workspaceId, query }) {
    const load = (page: Page) => listFlowResponses(deps.database, workspaceId, page, query.flowToken)
    return ok(await pageOf(query, load, byId, bodyOf))
  },
})

export const get = workspaceOperation({
  summary: 'Read a flow response',
  example: { params: { id: example.id }, answer: ok(example) },
  params: pathId('flowResponse'),
  response: { 200: flowResponseBody },
  async handle({ deps, workspaceId, params }) {
    const flowResponse = await findFlowResponse(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(flowResponse, 'flow response')))
  },
})

export const update = workspaceOperation({
  summary: 'Change a flow response',
  description:
    'Members that are left out stay as they are, null empties. An end that nobody chose follows `sentAt`. A status that is final stays so: ' +
    'a later end brings nobody back.',
  example: {
    params: { id: example.id },
    body: { campaignId: example.campaignId, expiresAt: example.expiresAt },
    answer: ok(example),
  },
  params: pathId('flowResponse'),
  body: flowResponseChanges,
  response: { 200: flowResponseBody },
  async handle({ deps, workspaceId, params, body }) {
    const { flowId, clientId, conversationId, channelId } = body
    await requireNamed(deps.database, workspaceId, { flowId, clientId, conversationId, channelId })
    return ok(bodyOf(await updateFlowResponse(deps.database, workspaceId, params.id, body)))
  },
})
