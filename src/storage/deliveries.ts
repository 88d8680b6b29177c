import type postgres from 'postgres'
import type { DeliveryReason } from '../domain/delivery.ts'
import { resourceTypeOf, type WebhookEvent } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { byteas, texts, times } from './arrays.ts'
import { storing } from './database.ts'

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

/** Writes deliveries in one statement, as a part of the transaction that `sql` is. What is there already stays as it is. */
export async function insertDeliveries(sql: postgres.ISql, rows: readonly NewDelivery[]): Promise<void> {
  if (rows.length === 0) return
  await sql`
    insert into deliveries (workspace_id, id, webhook_id, event_id, event, resource_id, occurred_at, envelope, flow_id,
      client_id, flow_token_digest, status, reason, due_at, created_at, updated_at)
    select workspace_id, id, webhook_id, event_id, event, resource_id, occurred_at, envelope, flow_id, client_id,
      sha256(convert_to(flow_token, 'UTF8')), case when envelope is null then 'expunged' when reason is null then 'pending'
      else 'exhausted' end, reason, case when envelope is not null and reason is null then created_at end, created_at, created_at
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.id)}::text[]::uuid[],
      ${texts(rows, (r) => r.webhookId)}::text[], ${texts(rows, (r) => r.eventId)}::text[]::uuid[],
      ${texts(rows, (r) => r.event)}::text[], ${texts(rows, (r) => r.resourceId)}::text[],
      ${times(rows, (r) => r.occurredAt)}::text[]::timestamptz[], ${byteas(rows, (r) => r.envelope)}::text[]::bytea[],
      ${texts(rows, (r) => r.flowId)}::text[], ${texts(rows, (r) => r.clientId)}::text[],
      ${texts(rows, flowTokenOf)}::text[], ${texts(rows, (r) => r.reason)}::text[],
      ${times(rows, (r) => r.createdAt)}::text[]::timestamptz[])
      as t(workspace_id, id, webhook_id, event_id, event, resource_id, occurred_at, envelope, flow_id, client_id, flow_token,
        reason, created_at)
    on conflict (workspace_id, id) do nothing`
}

/** Null for events about a flow: their resource is nobody's. */
function flowTokenOf({ event, resourceId }: NewDelivery): string | null {
  return resourceTypeOf(event) === 'flow_response' ? resourceId : null
}

/** How many deliveries wait for each of these webhooks, counted up to `most`. Those without any are 0. Throws StorageError. */
export function countWaiting(
  sql: postgres.Sql,
  webhooks: readonly { readonly workspaceId: WorkspaceId; readonly webhookId: string }[],
  most: number,
): Promise<Map<string, number>> {
  return storing('count waiting deliveries', async () => {
    const rows = await sql`
      select w.webhook_id, (
        select count(*)::int from (
          select from deliveries d
          where d.workspace_id = w.workspace_id and d.webhook_id = w.webhook_id and d.status in ('pending', 'failed')
          limit ${most}) waiting) as waiting
      from unnest(${texts(webhooks, (w) => w.workspaceId)}::text[], ${texts(webhooks, (w) => w.webhookId)}::text[])
        as w(workspace_id, webhook_id)`
    return new Map(rows.map(({ webhook_id, waiting }) => [webhook_id as string, waiting as number]))
  })
}
