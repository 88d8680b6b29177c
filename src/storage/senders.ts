import type postgres from 'postgres'
import type { Client, Conversation } from '../domain/envelope.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { numbers, texts } from './arrays.ts'
import { clientOf, conversationOf } from './sessions.ts'

/** Who wrote to a tenant. All of this runs in a transaction of the caller's. */
export interface Sender {
  readonly phoneNumber: string
  readonly name: string | null
}

/**
 * The clients with these phone numbers, made where there are none; a name is filled in where there is none. Their rows stay locked, so that one
 * client's messages take turns.
 */
export async function upsertSenders(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  senders: readonly Sender[],
  now: Date,
): Promise<Map<string, Client>> {
  if (senders.length === 0) return new Map()
  const rows = await tx`
    insert into clients as c (workspace_id, id, phone_number, name, created_at, updated_at)
    select ${workspaceId}, id, phone_number, name, ${now}::timestamptz, ${now}::timestamptz
    from unnest(${texts(senders, () => newId('client'))}::text[], ${texts(senders, (s) => s.phoneNumber)}::text[],
      ${texts(senders, (s) => s.name)}::text[]) as t(id, phone_number, name)
    order by phone_number
    on conflict (workspace_id, phone_number) do update set
      name = coalesce(c.name, excluded.name),
      updated_at = case when c.name is null and excluded.name is not null then excluded.updated_at else c.updated_at end
    returning id, phone_number, name, firstname, email, created_at, updated_at`
  return new Map(rows.map((row) => [row.phone_number as string, clientOf(row)]))
}

/** The channels with these ids of Meta's. */
export async function channelIdsOf(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  phoneNumberIds: readonly string[],
): Promise<Map<string, string>> {
  const rows = await tx`
    select phone_number_id, id from channels
    where workspace_id = ${workspaceId} and phone_number_id = any(${texts(phoneNumberIds, (id) => id)}::text[])`
  return new Map(rows.map(({ phone_number_id, id }) => [phone_number_id as string, id as string]))
}

/** What a client wrote on a channel. */
export interface Written {
  readonly clientId: string
  /** Null: the channel is not registered. */
  readonly channelId: string | null
  readonly messages: number
}

/**
 * Counts messages on the client's newest conversation on the channel, else its newest without a channel, else a new one with the API's defaults.
 * The clients' rows must be locked: nothing else keeps two of the same from being made. In the order of `written`.
 */
export async function countMessages(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  written: readonly Written[],
  now: Date,
): Promise<Conversation[]> {
  if (written.length === 0) return []
  const found = await tx`
    select distinct on (w.position) w.position::int, v.id
    from unnest(${texts(written, (w) => w.clientId)}::text[], ${texts(written, (w) => w.channelId)}::text[])
      with ordinality as w(client_id, channel_id, position)
    join conversations v on v.workspace_id = ${workspaceId} and v.client_id = w.client_id
      and (v.channel_id = w.channel_id or v.channel_id is null)
    order by w.position, v.channel_id is null, v.id desc`
  const idOf = new Map(found.map(({ position, id }) => [position as number, id as string]))
  const rows = written.map((row, index) => ({ ...row, id: idOf.get(index + 1) ?? newId('conversation') }))
  const counted = await tx`
    insert into conversations as v (workspace_id, id, client_id, channel_id, can_send_direct_message, topic, platform, owners,
      tags, status, operation, message_count, created_at, updated_at)
    select ${workspaceId}, id, client_id, max(channel_id), true, '', 'whatsapp', '{}', '{}', 'open', 'automatic', sum(messages),
      ${now}::timestamptz, ${now}::timestamptz
    from unnest(${texts(rows, (r) => r.id)}::text[], ${texts(rows, (r) => r.clientId)}::text[],
      ${texts(rows, (r) => r.channelId)}::text[], ${numbers(rows, (r) => r.messages)}::text[]::int[])
      as t(id, client_id, channel_id, messages)
    group by id, client_id order by id
    on conflict (workspace_id, id) do update set
      message_count = least(v.message_count::bigint + excluded.message_count, ${mostMessages}::bigint),
      updated_at = greatest(v.updated_at, excluded.updated_at)
    returning *`
  const conversations = new Map(counted.map((row) => [row.id as string, conversationOf(row)]))
  return rows.flatMap(({ id }) => conversations.get(id) ?? [])
}

/** The largest integer: a tenant may have set the count to it. */
const mostMessages = 2 ** 31 - 1
