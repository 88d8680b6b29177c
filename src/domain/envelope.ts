import { exchangeEvent, type Notice, resourceTypeOf } from './events.ts'
import type { ExchangeRequest } from './exchange.ts'
import type { Flow } from './flow.ts'
import { type FlowResponse, type FlowResponseStatus, isSharedToken } from './flow-response.ts'
import type { WorkspaceId } from './ids.ts'
import type { JsonObject } from './json.ts'

/** A tenant's customer. Times are Dates. */
export interface Client {
  readonly id: string
  readonly phoneNumber: string
  readonly name: string | null
  readonly firstname: string | null
  readonly email: string | null
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** The thread with a client. */
export interface Conversation {
  readonly id: string
  readonly clientId: string
  readonly channelId: string | null
  readonly canSendDirectMessage: boolean
  readonly contactName: string | null
  readonly topic: string
  readonly platform: string
  readonly owners: readonly string[]
  readonly tags: readonly string[]
  readonly status: string
  readonly operation: string
  readonly messageCount: number
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** What enrichment found for an exchange's flow token; all null when it found nothing or ran out of its budget. */
export interface ExchangeRecords {
  readonly client: Client | null
  readonly conversation: Conversation | null
  /** The state that already counts this exchange; null without a token, for shared tokens, and past the budget. */
  readonly flowResponse: FlowResponse | null
}

export interface EnvelopeParts {
  readonly id: string
  readonly workspaceId: WorkspaceId
  readonly wabaId: string
  readonly now: Date
  readonly request: ExchangeRequest
  readonly flow: Flow | null
  readonly records: ExchangeRecords
  readonly tokenSignature: 'verified' | 'invalid' | 'absent'
}

/** The envelope's exact text: contract.md §4, members in its order. It is made once and never again. */
export function buildEnvelope(parts: EnvelopeParts): string {
  const { request, records, now } = parts
  return JSON.stringify({
    id: parts.id,
    event: exchangeEvent(request.action),
    workspaceId: parts.workspaceId,
    timestamp: now.toISOString(),
    source: 'whatsapp.flows',
    resourceType: 'flow_response',
    resourceId: request.flowToken,
    changes: null,
    data: {
      ...recordMembers(parts.workspaceId, parts.wabaId, request.flowToken, parts.flow, records),
      flowExchange: {
        action: request.action,
        screen: request.screen,
        version: request.version,
        payload: request.payload,
        tokenSignature: parts.tokenSignature,
      },
    },
  })
}

/** An event that tells and does not ask. */
export interface NoticeParts {
  readonly id: string
  readonly event: Notice
  readonly workspaceId: WorkspaceId
  readonly now: Date
  /** The flow token, or our id of the flow: what the event's resourceType says. */
  readonly resourceId: string | null
  readonly changes: JsonObject | null
  readonly data: NoticeData
}

/** `data` of a notice: the records that all events have, then the event's own member. */
export type NoticeData = NoticeRecords & JsonObject
interface NoticeRecords {
  readonly client: object | null
  readonly conversation: object | null
  readonly flow: object
  readonly flowResponse: object | null
}

/** The exact text of an event that is no exchange: contract.md §4, members in its order. */
export function buildNotice({ id, event, workspaceId, now, resourceId, changes, data }: NoticeParts): string {
  return JSON.stringify({
    id,
    event,
    workspaceId,
    timestamp: now.toISOString(),
    source: 'whatsapp.flows',
    resourceType: resourceTypeOf(event),
    resourceId,
    changes,
    data,
  })
}

/** The records of an event about a flow token, as an exchange's envelope shows them. */
export function recordMembers(
  workspaceId: WorkspaceId,
  wabaId: string,
  flowToken: string | null,
  flow: Flow | null,
  records: ExchangeRecords,
): NoticeRecords {
  return {
    client: records.client && clientMember(records.client),
    conversation: records.conversation && conversationMember(records.conversation, workspaceId, records.client),
    flow: flowMember(flow, wabaId),
    flowResponse: flowResponseMember(flowToken, records.flowResponse),
  }
}

/** The records of an event about a flow: all but the flow are null. */
export function flowRecordMembers(wabaId: string, metaFlowId: string, flow: Flow | null): NoticeRecords {
  return { client: null, conversation: null, flow: { ...flowMember(flow, wabaId), metaFlowId }, flowResponse: null }
}

function clientMember(client: Client) {
  return {
    id: client.id,
    phoneNumber: client.phoneNumber,
    creationDate: client.createdAt.toISOString(),
    lastUpdate: client.updatedAt.toISOString(),
    name: client.name,
    firstname: client.firstname,
    email: client.email,
  }
}

function conversationMember(conversation: Conversation, workspaceId: WorkspaceId, client: Client | null) {
  return {
    id: conversation.id,
    conversationId: conversation.id,
    canSendDirectMessage: conversation.canSendDirectMessage,
    workspaceId,
    channelId: conversation.channelId,
    contactName: conversation.contactName ?? client?.name ?? null,
    phoneNumber: client?.phoneNumber ?? null,
    topic: conversation.topic,
    platform: conversation.platform,
    owners: conversation.owners,
    tags: conversation.tags,
    creationDate: conversation.createdAt.toISOString(),
    lastUpdate: conversation.updatedAt.toISOString(),
    status: conversation.status,
    operation: conversation.operation,
    messageCount: conversation.messageCount,
  }
}

/** Members that are not known are left out, not null: `reference/platica-flows-webhooks.txt`. */
function flowMember(flow: Flow | null, wabaId: string) {
  if (flow === null) return { id: null, wabaId }
  return {
    id: flow.id,
    wabaId: flow.wabaId,
    name: flow.name ?? undefined,
    status: flow.status ?? undefined,
    categories: flow.categories ?? undefined,
    dataApiVersion: flow.dataApiVersion ?? undefined,
    endpointUri: flow.endpointUri ?? undefined,
    jsonVersion: flow.jsonVersion ?? undefined,
    creationDate: flow.createdAt.toISOString(),
    lastUpdate: flow.updatedAt.toISOString(),
    lastSyncAt: flow.lastSyncAt?.toISOString(),
  }
}

function flowResponseMember(flowToken: string | null, state: FlowResponse | null) {
  if (flowToken === null) return null
  if (state === null || isSharedToken(flowToken)) {
    return { flowToken, status: 'IN_PROGRESS' satisfies FlowResponseStatus }
  }
  return {
    flowToken,
    status: state.status,
    sentAt: iso(state.sentAt),
    openedAt: iso(state.openedAt),
    lastActivityAt: iso(state.lastActivityAt),
    completedAt: iso(state.completedAt),
    expiresAt: iso(state.expiresAt),
    clientId: state.clientId,
    conversationId: state.conversationId,
    messageId: state.messageId,
    campaignId: state.campaignId,
    agentId: state.agentId,
    channelId: state.channelId,
  }
}

function iso(time: Date | null): string | null {
  return time === null ? null : time.toISOString()
}
