import { z } from 'zod'
import { idPattern, type WorkspaceId } from '../domain/ids.ts'
import {
  type ConversationWithClient,
  findConversation,
  insertConversation,
  listConversations,
} from '../storage/conversations.ts'
import type { Page } from '../storage/workspaces.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, pathId, possiblyEmptyText, reference, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, workspaceOperation } from './operation.ts'

const largestInteger = 2 ** 31 - 1

const conversationInput = z.strictObject({
  clientId: reference,
  channelId: reference.nullish(),
  contactName: text(200).nullish(),
  topic: possiblyEmptyText(1000).default(''),
  platform: text(50).default('whatsapp'),
  owners: z.array(text(200)).max(100).default([]),
  tags: z.array(text(200)).max(100).default([]),
  status: text(50).default('open'),
  operation: text(50).default('automatic'),
  canSendDirectMessage: z.boolean().default(true),
  messageCount: z.int().min(0).max(largestInteger).default(0),
})

/** As the envelope shows it (contract.md §4), and what every resource of the API has. */
const conversationBody = z.object({
  id: z.string(),
  conversationId: z.string(),
  canSendDirectMessage: z.boolean(),
  workspaceId: z.string(),
  channelId: z.string().nullable(),
  contactName: z.string().nullable(),
  phoneNumber: z.string(),
  topic: z.string(),
  platform: z.string(),
  owners: z.array(z.string()),
  tags: z.array(z.string()),
  creationDate: isoTime,
  lastUpdate: isoTime,
  status: z.string(),
  operation: z.string(),
  messageCount: z.int(),
  clientId: z.string(),
  createdAt: isoTime,
  updatedAt: isoTime,
})

function bodyOf(conversation: ConversationWithClient, workspaceId: WorkspaceId): z.input<typeof conversationBody> {
  const { clientName, owners, tags, ...members } = conversation
  const createdAt = iso(conversation.createdAt)
  const updatedAt = iso(conversation.updatedAt)
  return {
    ...members,
    conversationId: conversation.id,
    workspaceId,
    contactName: conversation.contactName ?? clientName,
    owners: [...owners],
    tags: [...tags],
    creationDate: createdAt,
    lastUpdate: updatedAt,
    createdAt,
    updatedAt,
  }
}

export const create = workspaceOperation({
  body: conversationInput,
  response: { 201: conversationBody },
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { clientId: body.clientId, channelId: body.channelId })
    const conversation = await insertConversation(deps.database, workspaceId, body)
    return created(bodyOf(conversation, workspaceId))
  },
})

export const list = workspaceOperation({
  query: z.strictObject(pageMembers(idPattern('conversation'))),
  response: { 200: listOf(conversationBody) },
  async handle({ deps, workspaceId, query }) {
    const load = (page: Page) => listConversations(deps.database, workspaceId, page)
    return ok(await pageOf(query, load, byId, (row) => bodyOf(row, workspaceId)))
  },
})

export const get = workspaceOperation({
  params: pathId('conversation'),
  response: { 200: conversationBody },
  async handle({ deps, workspaceId, params }) {
    const conversation = await findConversation(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(conversation, 'conversation'), workspaceId))
  },
})
