import type postgres from 'postgres'
import type { DeliveryHealth, DeliveryReason, DeliveryStatus } from '../domain/delivery.ts'
import type { WebhookEvent } from '../domain/events.ts'
import type { AttemptFailure } from '../domain/failure.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { idBounds, type Planning, texts, within } from './arrays.ts'
import { storing } from './database.ts'
import { base64Of, textOf } from './json-columns.ts'

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
        and t.id between ${least} and ${greatest}
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
  /** When this attempt was due: the row says something else once the delivery was redelivered. */
  readonly wasDueAt: Date
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
 * Writes attempts and what became of their deliveries, as a part of the transaction `tx`. Repeatable. Returns the ids of those that moved: a
 * delivery that ended meanwhile stays as it is, and so does one that is due at another time by now, for whatever is no success. Of
 * one that was expunged nothing is kept of the response.
 */
export async function recordProgress(
  tx: postgres.ISql,
  rows: readonly DeliveryProgress[],
  planning: Planning,
): Promise<Set<string>> {
  const { moving, counting, attempting } = statements[planning]
  const bounds = idBounds(rows.map(({ deliveryId }) => deliveryId))
  const made = rows.flatMap((row) => (row.attempt === null ? [] : [{ ...row, attempt: row.attempt }]))
  const run = (statement: string, progress: readonly DeliveryProgress[]) =>
    tx.unsafe(statement, [JSON.stringify(progress.map(moveOf)), ...bounds], { prepare: true })
  // Sent together: the connection keeps their order.
  const [found] = await Promise.all([
    run(moving, rows),
    made.length === 0
      ? null
      : tx.unsafe(attempting, [JSON.stringify(made.map(attemptOf)), ...bounds], { prepare: true }),
  ])
  const moved = new Set(found.map(({ id }) => id as string))
  const stayed = made.filter(({ deliveryId }) => !moved.has(deliveryId))
  if (stayed.length > 0) await run(counting, stayed)
  return moved
}

const rowsThatWait = (
  planning: Planning,
) => `json_to_recordset($1::text::json) as t(workspace_id text, id uuid, status text, reason text, attempts int,
    failures int, due_at timestamptz, at timestamptz, was_made boolean, last_status int, last_failure text, was_due_at timestamptz)
  where d.workspace_id = t.workspace_id and d.id = t.id and ${within('d.id', 2, planning)} and ${within('t.id', 2, planning)}
    and d.status in ('pending', 'failed')`

/** The last condition is for its repetition. Comparisons only: in an update Citus takes no function of a column that is not immutable. */
const movingOf = (planning: Planning) => `
  update deliveries d set status = t.status, reason = t.reason, attempts = greatest(d.attempts, t.attempts), failures = t.failures,
    due_at = t.due_at, delivered_at = case when t.status = 'delivered' then t.at else d.delivered_at end,
    last_status = case when t.was_made then t.last_status else d.last_status end,
    last_failure = case when t.was_made then t.last_failure else d.last_failure end, updated_at = t.at
  from ${rowsThatWait(planning)} and (t.status = 'delivered' or d.due_at = t.was_due_at or d.due_at = t.due_at)
  returning d.id`

/** An attempt that moved nothing was made all the same. */
const countingOf = (planning: Planning) => `
  update deliveries d set attempts = t.attempts, last_status = t.last_status, last_failure = t.last_failure, updated_at = t.at
  from ${rowsThatWait(planning)} and d.attempts < t.attempts`

function moveOf({ attempt, wasDueAt, ...progress }: DeliveryProgress) {
  const { workspaceId, deliveryId, status, reason, attempts, failures, dueAt, at } = progress
  return {
    workspace_id: workspaceId,
    id: deliveryId,
    status,
    reason,
    attempts,
    failures,
    due_at: dueAt,
    at,
    was_made: attempt !== null,
    last_status: attempt?.status ?? null,
    last_failure: attempt?.failure ?? null,
    was_due_at: wasDueAt,
  }
}

const attemptingOf = (planning: Planning) => `
  insert into attempts (workspace_id, id, delivery_id, number, status, failure, duration_ms, connect_ms, head_ms, bytes,
    response_headers, response_body, created_at)
  select t.workspace_id, t.id, t.delivery_id, t.number, t.status, t.failure, t.duration_ms, t.connect_ms, t.head_ms, t.bytes,
    case when d.envelope is not null then t.response_headers::json end,
    case when d.envelope is not null then decode(t.response_body, 'base64') end, t.created_at
  from json_to_recordset($1::text::json) as t(workspace_id text, id uuid, delivery_id uuid, number int, status int,
    failure text, duration_ms float8, connect_ms float8, head_ms float8, bytes int, response_headers text, response_body text,
    created_at timestamptz)
  join deliveries d on d.workspace_id = t.workspace_id and d.id = t.delivery_id and ${within('d.id', 2, planning)}
    and ${within('t.delivery_id', 2, planning)}
  on conflict (workspace_id, id) do nothing`

const statementsOf = (planning: Planning) => ({
  moving: movingOf(planning),
  counting: countingOf(planning),
  attempting: attemptingOf(planning),
})

const statements = { once: statementsOf('once'), each_time: statementsOf('each_time') }

function attemptOf({
  workspaceId,
  deliveryId,
  attempts,
  attempt,
}: DeliveryProgress & { readonly attempt: MadeAttempt }) {
  const { responseHeaders } = attempt
  return {
    workspace_id: workspaceId,
    id: attempt.id,
    delivery_id: deliveryId,
    number: attempts,
    status: attempt.status,
    failure: attempt.failure,
    duration_ms: attempt.durationMs,
    connect_ms: attempt.connectMs,
    head_ms: attempt.headMs,
    bytes: attempt.bytes,
    // As text within the JSON: what a webhook sends is only checked, not read.
    response_headers: responseHeaders === null ? null : textOf(JSON.stringify(responseHeaders)),
    response_body: base64Of(attempt.responseBody),
    created_at: attempt.createdAt,
  }
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
