import { exchangeEvent } from './events.ts'
import type { ExchangeRequest } from './exchange.ts'
import type { Flow } from './flow.ts'
import { type FlowResponse, type FlowResponseStatus, isSharedToken } from './flow-response.ts'
import type { WorkspaceId } from './ids.ts'

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
      client: records.client && clientMember(records.client),
      conversation: records.conversation && conversationMember(records.conversation, parts.workspaceId, records.client),
      flow: flowMember(parts.flow, parts.wabaId),
      flowResponse: flowResponseMember(request.flowToken, records.flowResponse),
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
