import type postgres from 'postgres'
import type { DeliveryReason } from '../domain/delivery.ts'
import { resourceTypeOf, type WebhookEvent } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { texts } from './arrays.ts'
import { storing } from './database.ts'
import { base64Of, textOf } from './json-columns.ts'

/** A delivery as it is made. Ids and times are the maker's, so that making it is repeatable. */
export interface NewDelivery {
  readonly workspaceId: WorkspaceId
  /** UUIDv7. */
  readonly id: string
  readonly webhookId: string
  /** The envelope's id. */
  readonly eventId: string
  readonly event: WebhookEvent
  readonly resourceId: string | null
  /** The envelope's timestamp. */
  readonly occurredAt: Date
  /** What is sent: the envelope's bytes, or Meta's body for a `plain` webhook. Null: emptied before it was written. */
  readonly envelope: Buffer | null
  readonly flowId: string | null
  readonly clientId: string | null
  readonly createdAt: Date
  /** Null: it waits for its first attempt. Else why it ended before. */
  readonly reason: DeliveryReason | null
}

/**
 * Writes deliveries in one statement, as a part of the transaction that `sql` is. What is there already stays as it is. Those of one event share an
 * envelope, which is sent once.
 */
export async function insertDeliveries(sql: postgres.ISql, rows: readonly NewDelivery[]): Promise<void> {
  if (rows.length === 0) return
  const envelopes = [...new Set(rows.flatMap(({ envelope }) => (envelope === null ? [] : [envelope])))]
  const numberOf = new Map(envelopes.map((envelope, index) => [envelope, index + 1]))
  const made = rows.map((row) => ({
    workspace_id: row.workspaceId,
    id: row.id,
    webhook_id: row.webhookId,
    event_id: row.eventId,
    event: row.event,
    resource_id: textOf(row.resourceId),
    occurred_at: row.occurredAt,
    envelope_number: row.envelope === null ? null : numberOf.get(row.envelope),
    flow_id: row.flowId,
    client_id: row.clientId,
    flow_token: textOf(flowTokenOf(row)),
    reason: row.reason,
    created_at: row.createdAt,
  }))
  await sql.unsafe(insertion, [JSON.stringify(made), JSON.stringify(envelopes.map(base64Of))], { prepare: true })
}

const insertion = `
  insert into deliveries (workspace_id, id, webhook_id, event_id, event, resource_id, occurred_at, envelope, flow_id,
    client_id, flow_token_digest, status, reason, due_at, created_at, updated_at)
  select workspace_id, id, webhook_id, event_id, event, resource_id, occurred_at, decode(envelope, 'base64'), flow_id, client_id,
    sha256(convert_to(flow_token, 'UTF8')), case when envelope is null then 'expunged' when reason is null then 'pending'
    else 'exhausted' end, reason, case when envelope is not null and reason is null then created_at end, created_at, created_at
  from json_to_recordset($1::text::json) as t(workspace_id text, id uuid, webhook_id text, event_id uuid, event text,
    resource_id text, occurred_at timestamptz, envelope_number int, flow_id text, client_id text, flow_token text, reason text,
    created_at timestamptz)
  left join json_array_elements_text($2::text::json) with ordinality as e(envelope, number) on e.number = t.envelope_number
  on conflict (workspace_id, id) do nothing`

/**
 * How many deliveries of all workspaces wait for an attempt, counted up to `most`, and for how many seconds the one that is overdue longest has
 * been due (0: none is). Throws StorageError.
 */
export function measureQueue(sql: postgres.Sql, most: number): Promise<{ depth: number; ageSeconds: number }> {
  return storing('measure queue', async () => {
    const [row] = await sql`
      select (
        select count(*)::int from (select from deliveries where status in ('pending', 'failed') limit ${most}) waiting
      ) as depth, (
        select extract(epoch from now() - min(due_at))::float8 from deliveries where status in ('pending', 'failed')
      ) as age`
    return { depth: row?.depth ?? 0, ageSeconds: Math.max(0, row?.age ?? 0) }
  })
}

/** Null for events about a flow: their resource is nobody's. */
export function flowTokenOf({ event, resourceId }: NewDelivery): string | null {
  return resourceTypeOf(event) === 'flow_response' ? resourceId : null
}

/** When the database ends a count, ms: before its caller gives up on it. */
export const countMs = 4000

/**
 * How many deliveries wait for each of these webhooks, counted up to `most`. Those without any are 0. The database ends it after `withinMs`, so
 * that it goes on for nobody. Throws StorageError.
 */
export function countWaiting(
  sql: postgres.Sql,
  webhooks: readonly { readonly workspaceId: WorkspaceId; readonly webhookId: string }[],
  most: number,
  withinMs = countMs,
): Promise<Map<string, number>> {
  return storing('count waiting deliveries', async () => {
    const rows = await sql.begin(async (tx) => {
      await tx.unsafe(`set local statement_timeout = ${withinMs}`)
      return tx`
        select w.webhook_id, (
          select count(*)::int from (
            select from deliveries d
            where d.workspace_id = w.workspace_id and d.webhook_id = w.webhook_id and d.status in ('pending', 'failed')
            limit ${most}) waiting) as waiting
        from unnest(${texts(webhooks, (w) => w.workspaceId)}::text[], ${texts(webhooks, (w) => w.webhookId)}::text[])
          as w(workspace_id, webhook_id)`
    })
    return new Map(rows.map(({ webhook_id, waiting }) => [webhook_id as string, waiting as number]))
  })
}
