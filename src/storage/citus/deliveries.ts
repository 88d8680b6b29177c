import type postgres from 'postgres'
import type { WorkspaceId } from '../../domain/ids.ts'
import { storing } from '../database.ts'
import { countMs, flowTokenOf, type NewDelivery } from '../deliveries.ts'
import { base64Of, textOf } from '../json-columns.ts'

/** As insertDeliveries does, a statement for each row: see recordExchangesByRow. As a part of the transaction `tx`. */
export async function insertDeliveries(tx: postgres.ISql, rows: readonly NewDelivery[]): Promise<void> {
  await Promise.all(rows.map((row) => tx.unsafe(insertion, valuesOf(row), { prepare: true })))
}

const insertion = `
  insert into deliveries (workspace_id, id, webhook_id, event_id, event, resource_id, occurred_at, envelope, flow_id, client_id,
    status, reason, due_at, created_at, updated_at, flow_token_digest)
  values ($1, $2, $3, $4, $5, $6, $7, decode($8::text, 'base64'), $9, $10, $11, $12, $13, $14, $14, sha256(convert_to($15, 'UTF8')))
  on conflict (workspace_id, id) do nothing`

function valuesOf(row: NewDelivery): postgres.ParameterOrJSON<never>[] {
  const { workspaceId, id, webhookId, eventId, event, resourceId, occurredAt, envelope, flowId, clientId, reason } = row
  const open = reason === null ? 'pending' : 'exhausted'
  const status = envelope === null ? 'expunged' : open
  const dueAt = status === 'pending' ? row.createdAt : null
  return [
    ...[
      workspaceId,
      id,
      webhookId,
      eventId,
      event,
      textOf(resourceId),
      occurredAt,
      base64Of(envelope),
      flowId,
      clientId,
    ],
    ...[status, reason, dueAt, row.createdAt, textOf(flowTokenOf(row))],
  ]
}

/** As countWaiting does, webhook by webhook: Citus looks up nothing for each row of a list. */
export function countWaiting(
  sql: postgres.Sql,
  webhooks: readonly { readonly workspaceId: WorkspaceId; readonly webhookId: string }[],
  most: number,
  withinMs = countMs,
): Promise<Map<string, number>> {
  const count = async (tx: postgres.ISql, { workspaceId, webhookId }: (typeof webhooks)[number]) => {
    const [row] = await tx`
      select count(*)::int as waiting from (
        select from deliveries
        where workspace_id = ${workspaceId} and webhook_id = ${webhookId} and status in ('pending', 'failed') limit ${most}) w`
    return [webhookId, (row?.waiting ?? 0) as number] as const
  }
  return storing('count waiting deliveries', async () => {
    const counts = await sql.begin(async (tx) => {
      await tx.unsafe(`set local statement_timeout = ${withinMs}`)
      return Promise.all(webhooks.map((webhook) => count(tx, webhook)))
    })
    return new Map(counts)
  })
}
