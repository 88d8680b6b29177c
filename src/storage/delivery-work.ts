import type postgres from 'postgres'
import { firstIdAt } from '../domain/day.ts'
import type { DeliveryHealth, DeliveryReason, DeliveryStatus } from '../domain/delivery.ts'
import type { WebhookEvent } from '../domain/events.ts'
import type { AttemptFailure } from '../domain/failure.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { byteas, idBounds, jsons, numbers, texts, times } from './arrays.ts'
import { storing } from './database.ts'

/** A delivery that waits for an attempt. */
export interface WaitingDelivery {
  readonly workspaceId: WorkspaceId
  readonly id: string
  readonly webhookId: string
  readonly eventId: string
  readonly event: WebhookEvent
  readonly resourceId: string | null
  readonly occurredAt: Date
  readonly envelope: Buffer
  readonly attempts: number
  readonly failures: number
  readonly dueAt: Date
}

interface DeliveryName {
  readonly workspaceId: string
  readonly deliveryId: string
}

/** Of these deliveries those that still wait. Throws StorageError. */
export function loadWaiting(sql: postgres.Sql, names: readonly DeliveryName[]): Promise<WaitingDelivery[]> {
  const [least, greatest] = idBounds(names.map(({ deliveryId }) => deliveryId))
  return storing('load waiting deliveries', async () => {
    const rows = await sql`
      select d.workspace_id, d.id, d.webhook_id, d.event_id, d.event, d.resource_id, d.occurred_at, d.envelope, d.attempts,
        d.failures, d.due_at
      from unnest(${texts(names, (n) => n.workspaceId)}::text[], ${texts(names, (n) => n.deliveryId)}::text[]::uuid[])
        as t(workspace_id, id)
      join deliveries d on d.workspace_id = t.workspace_id and d.id = t.id and d.id between ${least} and ${greatest}
      where d.status in ('pending', 'failed')`
    return rows.map((row) => ({
      workspaceId: row.workspace_id as WorkspaceId,
      id: row.id as string,
      webhookId: row.webhook_id as string,
      eventId: row.event_id as string,
      event: row.event as WebhookEvent,
      resourceId: row.resource_id as string | null,
      occurredAt: row.occurred_at as Date,
      envelope: row.envelope as Buffer,
      attempts: row.attempts as number,
      failures: row.failures as number,
      dueAt: row.due_at as Date,
    }))
  })
}

/** One HTTP request, as it is kept. */
export interface MadeAttempt {
  /** UUIDv7. */
  readonly id: string
  readonly createdAt: Date
  readonly status: number | null
  readonly failure: AttemptFailure | null
  readonly durationMs: number
  readonly connectMs: number | null
  readonly headMs: number | null
  readonly bytes: number
  readonly responseHeaders: Readonly<Record<string, string | string[]>> | null
  readonly responseBody: Buffer
}

/** Where a delivery stands after an attempt, or after it was found that there is to be none. */
export interface DeliveryProgress {
  readonly workspaceId: WorkspaceId
  readonly deliveryId: string
  readonly webhookId: string
  readonly at: Date
  readonly status: DeliveryStatus
  readonly reason: DeliveryReason | null
  /** With this one. */
  readonly attempts: number
  readonly failures: number
  readonly dueAt: Date | null
  readonly attempt: MadeAttempt | null
}

/**
 * Writes attempts and what became of their deliveries, as a part of the transaction `tx`. Repeatable. A delivery that ended meanwhile stays as it
 * is; of one that was expunged nothing is kept of the response.
 */
export async function recordProgress(tx: postgres.ISql, rows: readonly DeliveryProgress[]): Promise<void> {
  const [least, greatest] = idBounds(rows.map(({ deliveryId }) => deliveryId))
  const update = tx`
    update deliveries d set status = t.status, reason = t.reason, attempts = t.attempts, failures = t.failures,
      due_at = t.due_at, delivered_at = case when t.status = 'delivered' then t.at else d.delivered_at end,
      last_status = case when t.was_made then t.last_status else d.last_status end,
      last_failure = case when t.was_made then t.last_failure else d.last_failure end, updated_at = t.at
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.deliveryId)}::text[]::uuid[],
      ${texts(rows, (r) => r.status)}::text[], ${texts(rows, (r) => r.reason)}::text[],
      ${numbers(rows, (r) => r.attempts)}::text[]::int[], ${numbers(rows, (r) => r.failures)}::text[]::int[],
      ${times(rows, (r) => r.dueAt)}::text[]::timestamptz[], ${times(rows, (r) => r.at)}::text[]::timestamptz[],
      ${texts(rows, (r) => String(r.attempt !== null))}::text[]::boolean[],
      ${numbers(rows, (r) => r.attempt?.status ?? null)}::text[]::int[], ${texts(rows, (r) => r.attempt?.failure ?? null)}::text[])
      as t(workspace_id, id, status, reason, attempts, failures, due_at, at, was_made, last_status, last_failure)
    where d.workspace_id = t.workspace_id and d.id = t.id and d.id between ${least} and ${greatest}
      and d.status in ('pending', 'failed')`.execute()
  const made = rows.flatMap((row) => (row.attempt === null ? [] : [{ ...row, attempt: row.attempt }]))
  // Sent together: the connection keeps their order.
  await Promise.all([update, made.length === 0 ? null : insertAttempts(tx, made, least, greatest)])
}

type Made = DeliveryProgress & { readonly attempt: MadeAttempt }

async function insertAttempts(tx: postgres.ISql, rows: readonly Made[], least: string, greatest: string) {
  await tx`
    insert into attempts (workspace_id, id, delivery_id, number, status, failure, duration_ms, connect_ms, head_ms, bytes,
      response_headers, response_body, created_at)
    select t.workspace_id, t.id, t.delivery_id, t.number, t.status, t.failure, t.duration_ms, t.connect_ms, t.head_ms, t.bytes,
      case when d.status <> 'expunged' then t.response_headers end,
      case when d.status <> 'expunged' then t.response_body end, t.created_at
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.attempt.id)}::text[]::uuid[],
      ${texts(rows, (r) => r.deliveryId)}::text[]::uuid[], ${numbers(rows, (r) => r.attempts)}::text[]::int[],
      ${numbers(rows, (r) => r.attempt.status)}::text[]::int[], ${texts(rows, (r) => r.attempt.failure)}::text[],
      ${numbers(rows, (r) => r.attempt.durationMs)}::text[]::float8[],
      ${numbers(rows, (r) => r.attempt.connectMs)}::text[]::float8[],
      ${numbers(rows, (r) => r.attempt.headMs)}::text[]::float8[], ${numbers(rows, (r) => r.attempt.bytes)}::text[]::int[],
      ${jsons(rows, (r) => r.attempt.responseHeaders)}::text[]::json[],
      ${byteas(rows, (r) => r.attempt.responseBody)}::text[]::bytea[], ${times(rows, (r) => r.attempt.createdAt)}::text[]::timestamptz[])
      as t(workspace_id, id, delivery_id, number, status, failure, duration_ms, connect_ms, head_ms, bytes, response_headers,
        response_body, created_at)
    join deliveries d on d.workspace_id = t.workspace_id and d.id = t.delivery_id and d.id between ${least} and ${greatest}
    on conflict (workspace_id, id) do nothing`
}

/** Writes a webhook's health, as a part of the transaction `tx`. What stopped its deliveries is not undone by a success that comes after. */
export async function recordHealth(
  tx: postgres.ISql,
  workspaceId: WorkspaceId,
  webhookId: string,
  { failingSince, failureWarnedAt, deliveriesDisabledAt }: DeliveryHealth,
): Promise<void> {
  await tx`
    update webhooks set failing_since = ${failingSince}, failure_warned_at = ${failureWarnedAt},
      deliveries_disabled_at = coalesce(deliveries_disabled_at, ${deliveriesDisabledAt})
    where workspace_id = ${workspaceId} and id = ${webhookId}`
}

/** Whether a webhook answered an exchange since. Looks through its workspace's exchanges, newest first. Throws StorageError. */
export function hasAnsweredSince(
  sql: postgres.Sql,
  workspaceId: WorkspaceId,
  webhookId: string,
  since: Date,
): Promise<boolean> {
  const look = async () => {
    const rows = await sql`
      select from exchanges
      where workspace_id = ${workspaceId} and webhook_id = ${webhookId} and outcome in ('replied', 'token_refused')
        and attempt is not null and id >= ${firstIdAt(since.getTime())} and created_at >= ${since}
      order by id desc limit 1`
    return rows.length > 0
  }
  return storing('look for answered exchanges', look, 30_000)
}

export interface OverdueDelivery {
  readonly workspaceId: WorkspaceId
  readonly deliveryId: string
  readonly webhookId: string
  readonly dueAt: Date
}

/** Deliveries that were due before then, the longest first, after the one given: at most `limit`. Throws StorageError. */
export function findOverdue(
  sql: postgres.Sql,
  after: OverdueDelivery | null,
  before: Date,
  limit: number,
): Promise<OverdueDelivery[]> {
  return storing('find overdue deliveries', async () => {
    const next = after === null ? sql`` : sql`and (due_at, id) > (${after.dueAt}, ${after.deliveryId}::uuid)`
    const rows = await sql`
      select workspace_id, id, webhook_id, due_at from deliveries
      where status in ('pending', 'failed') and due_at < ${before} ${next}
      order by due_at, id limit ${limit}`
    return rows.map((row) => ({
      workspaceId: row.workspace_id as WorkspaceId,
      deliveryId: row.id as string,
      webhookId: row.webhook_id as string,
      dueAt: row.due_at as Date,
    }))
  })
}
