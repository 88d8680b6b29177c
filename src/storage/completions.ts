import type postgres from 'postgres'
import type { Client, Conversation } from '../domain/envelope.ts'
import { defaultLifetimeMs, type FlowResponse } from '../domain/flow-response.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { texts, times } from './arrays.ts'
import { storable } from './database.ts'
import { clientOf, conversationOf, flowResponseOf } from './sessions.ts'

/** A flow response and whether Meta has confirmed its completion. All of this runs in a transaction of the caller's. */
export interface ConfirmableFlowResponse extends FlowResponse {
  readonly confirmedAt: Date | null
  /** Whom Meta sent it to, where that is another number than the client's. */
  readonly metaPhoneNumber: string | null
}

/** The flow tokens that these messages sent, of several the newest. */
export async function flowTokensOfMessages(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  messageIds: readonly string[],
): Promise<Map<string, string>> {
  if (messageIds.length === 0) return new Map()
  const rows = await tx`
    select message_id, flow_token from flow_responses
    where workspace_id = ${workspaceId} and message_id = any(${texts(messageIds, (id) => id)}::text[])
    order by id`
  return new Map(rows.map(({ message_id, flow_token }) => [message_id as string, flow_token as string]))
}

/** A flow token as it is stored, and so as it comes back. */
export function storedFlowToken(flowToken: string): string {
  return storable(flowToken)
}

/**
 * The rows of these flow tokens by token, made where there are none, and locked. One statement in the order in which exchanges write theirs, so
 * that the two never wait for each other.
 */
export async function claimFlowResponses(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  flowTokens: readonly string[],
  now: Date,
): Promise<Map<string, ConfirmableFlowResponse>> {
  if (flowTokens.length === 0) return new Map()
  const expiresAt = new Date(now.getTime() + defaultLifetimeMs)
  const rows = await tx`
    insert into flow_responses as r (workspace_id, id, flow_token, flow_token_digest, status, expires_at, created_at, updated_at)
    select ${workspaceId}, id, flow_token, sha256(convert_to(flow_token, 'UTF8')), 'SENT', ${expiresAt}::timestamptz,
      ${now}::timestamptz, ${now}::timestamptz
    from unnest(${texts(flowTokens, () => newId('flowResponse'))}::text[], ${texts(flowTokens, (token) => token)}::text[])
      as t(id, flow_token)
    order by flow_token collate "C"
    on conflict (workspace_id, flow_token_digest) do update set updated_at = r.updated_at
    returning r.id, r.flow_token, r.flow_id, r.status, r.sent_at, r.opened_at, r.last_activity_at, r.completed_at, r.confirmed_at,
      r.expires_at, r.client_id, r.conversation_id, r.message_id, r.meta_phone_number, r.campaign_id, r.agent_id, r.channel_id`
  return new Map(
    rows.map((row) => {
      const flowToken = row.flow_token as string
      const own = {
        confirmedAt: row.confirmed_at as Date | null,
        metaPhoneNumber: row.meta_phone_number as string | null,
      }
      return [flowToken, { ...flowResponseOf(row, flowToken), ...own }]
    }),
  )
}

/**
 * The clients and conversations with these ids, by id, and the clients of those conversations. One list of ids: `or` with a subquery takes no index but
 * the workspace's, and reads all its clients.
 */
export async function loadLinked(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  clientIds: readonly string[],
  conversationIds: readonly string[],
): Promise<{ readonly clients: Map<string, Client>; readonly conversations: Map<string, Conversation> }> {
  const [conversations, clients] = await Promise.all([
    tx`select * from conversations
      where workspace_id = ${workspaceId} and id = any(${texts(conversationIds, (id) => id)}::text[])`,
    tx`select * from clients
      where workspace_id = ${workspaceId} and id = any(${texts(clientIds, (id) => id)}::text[] || array(
        select client_id from conversations
        where workspace_id = ${workspaceId} and id = any(${texts(conversationIds, (id) => id)}::text[])))`,
  ])
  return {
    clients: new Map(clients.map((row) => [row.id as string, clientOf(row)])),
    conversations: new Map(conversations.map((row) => [row.id as string, conversationOf(row)])),
  }
}

/** Writes claimed rows back. */
export async function writeConfirmed(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  rows: readonly ConfirmableFlowResponse[],
  now: Date,
): Promise<void> {
  if (rows.length === 0) return
  await tx`
    update flow_responses r set status = t.status, flow_id = t.flow_id, client_id = t.client_id,
      conversation_id = t.conversation_id, message_id = t.message_id, channel_id = t.channel_id,
      last_activity_at = t.last_activity_at, completed_at = t.completed_at, confirmed_at = t.confirmed_at,
      updated_at = greatest(r.updated_at, ${now}::timestamptz)
    from unnest(${texts(rows, (r) => r.id)}::text[], ${texts(rows, (r) => r.status)}::text[],
      ${texts(rows, (r) => r.flowId)}::text[], ${texts(rows, (r) => r.clientId)}::text[],
      ${texts(rows, (r) => r.conversationId)}::text[], ${texts(rows, (r) => r.messageId)}::text[],
      ${texts(rows, (r) => r.channelId)}::text[], ${times(rows, (r) => r.lastActivityAt)}::text[]::timestamptz[],
      ${times(rows, (r) => r.completedAt)}::text[]::timestamptz[], ${times(rows, (r) => r.confirmedAt)}::text[]::timestamptz[])
      as t(id, status, flow_id, client_id, conversation_id, message_id, channel_id, last_activity_at, completed_at, confirmed_at)
    where r.workspace_id = ${workspaceId} and r.id = t.id`
}
