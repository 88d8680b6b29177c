import type postgres from 'postgres'
import type { Client, Conversation } from '../domain/envelope.ts'
import type { FlowResponse, FlowResponseStatus } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { storable, storing } from './database.ts'

/** What is stored of a flow token before this exchange. */
export interface StoredSession {
  readonly flowResponse: FlowResponse | null
  readonly client: Client | null
  readonly conversation: Conversation | null
  /** The last answer that led to this exchange's screen, as sent. */
  readonly screenAnswer: Buffer | null
  /** The answer last given to the same action and screen, as sent. */
  readonly lastGood: Buffer | null
}

export interface SessionQuery {
  readonly flowToken: string
  readonly action: string | null
  readonly screen: string | null
  /** Whether a webhook of the workspace falls back to earlier answers; the look-up is left out where none does. */
  readonly withAnswers: boolean
}

/**
 * One round trip: the flow response of a token, its client and conversation, and earlier answers if asked. Throws StorageError. In order, where one row can be found: while a table is
 * empty all its indexes cost the same to PostgreSQL, and it took one that reads all of a workspace (15 ms at 10,000 rows, until autovacuum came by); only the
 * right one gives the order.
 */
export function loadSession(sql: postgres.Sql, workspaceId: WorkspaceId, query: SessionQuery): Promise<StoredSession> {
  return storing('load session', async () => {
    const token = storable(query.flowToken)
    const [row] = await sql`
      with token as (select sha256(convert_to(${token}, 'UTF8')) as digest)
      select r.id as flow_response_id, r.flow_id, r.status as flow_response_status, r.sent_at, r.opened_at,
        r.last_activity_at, r.completed_at, r.expires_at, r.client_id as linked_client_id,
        r.conversation_id as linked_conversation_id, r.message_id, r.campaign_id, r.agent_id,
        r.channel_id as linked_channel_id, row_to_json(c) as client, row_to_json(v) as conversation${
          query.withAnswers ? sql`, s.answer as screen_answer, g.answer as last_good` : sql``
        }
      from token
      left join lateral (
        select * from flow_responses where workspace_id = ${workspaceId}
          and flow_token_digest >= token.digest and flow_token_digest <= token.digest
        order by flow_token_digest limit 1) r on true
      left join lateral (
        select * from conversations where workspace_id = ${workspaceId}
          and id >= r.conversation_id and id <= r.conversation_id
        order by id limit 1) v on true
      left join lateral (
        select * from clients where workspace_id = ${workspaceId}
          and id >= coalesce(r.client_id, v.client_id) and id <= coalesce(r.client_id, v.client_id)
        order by id limit 1) c on true
      ${query.withAnswers ? earlierAnswers(sql, workspaceId, query) : sql``}`
    return sessionOf(row ?? {}, query.flowToken)
  })
}

/**
 * Without a bound on the id: PostgreSQL then keeps one plan for all partitions (34: 0.65 ms), where with one it would plan for the
 * latest anew each time (1.7 ms).
 */
function earlierAnswers(sql: postgres.Sql, workspaceId: WorkspaceId, { action, screen }: SessionQuery) {
  const stored = screen === null ? null : storable(screen)
  const replied = sql`select answer from exchanges e
      where e.workspace_id = ${workspaceId} and e.flow_token_digest = token.digest and e.outcome = 'replied'`
  return sql`
      left join lateral (${replied} and e.answer_screen = ${stored} order by e.id desc limit 1) s on true
      left join lateral (${replied} and e.action = ${action} and e.screen is not distinct from ${stored}
        order by e.id desc limit 1) g on true`
}

type Row = Record<string, unknown>

function sessionOf(row: Row, flowToken: string): StoredSession {
  return {
    flowResponse: typeof row.flow_response_id === 'string' ? flowResponseOf(row, flowToken) : null,
    client: row.client ? clientOf(row.client as Row) : null,
    conversation: row.conversation ? conversationOf(row.conversation as Row) : null,
    screenAnswer: (row.screen_answer ?? null) as Buffer | null,
    lastGood: (row.last_good ?? null) as Buffer | null,
  }
}

export function flowResponseOf(row: Row, flowToken: string): FlowResponse {
  return {
    id: row.flow_response_id as string,
    flowToken,
    flowId: row.flow_id as string | null,
    status: row.flow_response_status as FlowResponseStatus,
    sentAt: row.sent_at as Date | null,
    openedAt: row.opened_at as Date | null,
    lastActivityAt: row.last_activity_at as Date | null,
    completedAt: row.completed_at as Date | null,
    expiresAt: row.expires_at as Date,
    clientId: row.linked_client_id as string | null,
    conversationId: row.linked_conversation_id as string | null,
    messageId: row.message_id as string | null,
    campaignId: row.campaign_id as string | null,
    agentId: row.agent_id as string | null,
    channelId: row.linked_channel_id as string | null,
  }
}

/** row_to_json gives times as text, a row of its own as Dates. */
export function clientOf(row: Row): Client {
  return {
    id: row.id as string,
    phoneNumber: row.phone_number as string,
    name: row.name as string | null,
    firstname: row.firstname as string | null,
    email: row.email as string | null,
    createdAt: new Date(row.created_at as string | Date),
    updatedAt: new Date(row.updated_at as string | Date),
  }
}

export function conversationOf(row: Row): Conversation {
  return {
    id: row.id as string,
    clientId: row.client_id as string,
    channelId: row.channel_id as string | null,
    canSendDirectMessage: row.can_send_direct_message as boolean,
    contactName: row.contact_name as string | null,
    topic: row.topic as string,
    platform: row.platform as string,
    owners: row.owners as string[],
    tags: row.tags as string[],
    status: row.status as string,
    operation: row.operation as string,
    messageCount: row.message_count as number,
    createdAt: new Date(row.created_at as string | Date),
    updatedAt: new Date(row.updated_at as string | Date),
  }
}
