import { z } from 'zod'
import { flowResponseStatuses, isSharedToken } from '../domain/flow-response.ts'
import { idPattern } from '../domain/ids.ts'
import {
  type FlowResponseOwner,
  findFlowResponse,
  listFlowResponses,
  type StoredFlowResponse,
  upsertFlowResponse,
} from '../storage/flow-responses.ts'
import type { Page } from '../storage/workspaces.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, pathId, phoneNumber, reference, text, time } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, workspaceOperation } from './operation.ts'

const flowToken = text(4096)

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
  .refine((body) => body.phoneNumber === undefined || body.clientId === undefined, {
    path: ['phoneNumber'],
    message: 'must not stand beside clientId',
  })

const flowResponseBody = z.object({
  id: z.string(),
  flowToken: z.string(),
  status: z.enum(flowResponseStatuses),
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

function bodyOf(flowResponse: StoredFlowResponse): z.input<typeof flowResponseBody> {
  return {
    ...flowResponse,
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
  query: z.strictObject({ ...pageMembers(idPattern('flowResponse')), flowToken: flowToken.optional() }),
  response: { 200: listOf(flowResponseBody) },
  async handle({ deps, workspaceId, query }) {
    const load = (page: Page) => listFlowResponses(deps.database, workspaceId, page, query.flowToken)
    return ok(await pageOf(query, load, byId, bodyOf))
  },
})

export const get = workspaceOperation({
  params: pathId('flowResponse'),
  response: { 200: flowResponseBody },
  async handle({ deps, workspaceId, params }) {
    const flowResponse = await findFlowResponse(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(flowResponse, 'flow response')))
  },
})
