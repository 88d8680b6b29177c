import { z } from 'zod'
import { idPattern, type WorkspaceId } from '../domain/ids.ts'
import {
  type ConversationWithClient,
  deleteConversation,
  findConversation,
  insertConversation,
  listConversations,
  updateConversation,
} from '../storage/conversations.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleId, exampleList, exampleTime, exampleTimes } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, pathId, possiblyEmptyText, reference, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, workspaceOperation } from './operation.ts'

const largestInteger = 2 ** 31 - 1

const members = {
  channelId: reference.nullable(),
  contactName: text(200).nullable().describe("null: the client's name is shown"),
  topic: possiblyEmptyText(1000),
  platform: text(50),
  owners: z.array(text(200)).max(100),
  tags: z.array(text(200)).max(100),
  status: text(50),
  operation: text(50),
  canSendDirectMessage: z.boolean(),
  messageCount: z.int().min(0).max(largestInteger),
}

const conversationInput = z.strictObject({
  clientId: reference,
  channelId: members.channelId.optional(),
  contactName: members.contactName.optional(),
  topic: members.topic.default(''),
  platform: members.platform.default('whatsapp'),
  owners: members.owners.default([]),
  tags: members.tags.default([]),
  status: members.status.default('open'),
  operation: members.operation.default('automatic'),
  canSendDirectMessage: members.canSendDirectMessage.default(true),
  messageCount: members.messageCount.default(0),
})

/** Whose conversation it is never changes. */
const conversationChanges = z.strictObject(members).partial()

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

const exampleInput = {
  clientId: exampleId('client'),
  channelId: exampleId('channel'),
  contactName: 'Example Person',
  topic: 'An offer',
  tags: ['offers'],
}
const example = {
  id: exampleId('conversation'),
  conversationId: exampleId('conversation'),
  canSendDirectMessage: true,
  workspaceId: exampleId('workspace'),
  ...exampleInput,
  phoneNumber: '+5215555550101',
  platform: 'whatsapp',
  owners: [],
  creationDate: exampleTime,
  lastUpdate: exampleTime,
  status: 'open',
  operation: 'automatic',
  messageCount: 0,
  ...exampleTimes,
}

function bodyOf(conversation: ConversationWithClient, workspaceId: WorkspaceId): z.input<typeof conversationBody> {
  const { clientName, owners, tags, ...rest } = conversation
  const createdAt = iso(conversation.createdAt)
  const updatedAt = iso(conversation.updatedAt)
  return {
    ...rest,
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
  summary: 'Make a conversation with a client',
  example: { body: exampleInput, answer: created(example) },
  body: conversationInput,
  response: { 201: conversationBody },
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { clientId: body.clientId, channelId: body.channelId })
    const conversation = await insertConversation(deps.database, workspaceId, body)
    return created(bodyOf(conversation, workspaceId))
  },
})

export const list = workspaceOperation({
  summary: 'List conversations',
  example: { answer: ok(exampleList(example)) },
  query: z.strictObject(pageMembers(idPattern('conversation'))),
  response: { 200: listOf(conversationBody) },
  async handle({ deps, workspaceId, query }) {
    const load = (page: Page) => listConversations(deps.database, workspaceId, page)
    return ok(await pageOf(query, load, byId, (row) => bodyOf(row, workspaceId)))
  },
})

export const get = workspaceOperation({
  summary: 'Read a conversation',
  example: { params: { id: example.id }, answer: ok(example) },
  params: pathId('conversation'),
  response: { 200: conversationBody },
  async handle({ deps, workspaceId, params }) {
    const conversation = await findConversation(deps.database, workspaceId, params.id)
    return ok(bodyOf(found(conversation, 'conversation'), workspaceId))
  },
})

export const update = workspaceOperation({
  summary: 'Change a conversation',
  example: { params: { id: example.id }, body: { topic: example.topic, tags: example.tags }, answer: ok(example) },
  params: pathId('conversation'),
  body: conversationChanges,
  response: { 200: conversationBody },
  async handle({ deps, workspaceId, params, body }) {
    await requireNamed(deps.database, workspaceId, { channelId: body.channelId })
    const conversation = await updateConversation(deps.database, workspaceId, params.id, body)
    return ok(bodyOf(conversation, workspaceId))
  },
})

export const remove = workspaceOperation({
  summary: 'Remove a conversation',
  example: { params: { id: example.id }, answer: noContent() },
  params: pathId('conversation'),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await deleteConversation(deps.database, workspaceId, params.id)
    return noContent()
  },
})
