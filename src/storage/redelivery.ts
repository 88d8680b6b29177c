import type postgres from 'postgres'
import { firstIdAt } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, storing } from './database.ts'
import { idSlackMs, type TimeSpan } from './time-span.ts'

/** Sets alarms anew for deliveries that are due now, as a part of the transaction `tx`. */
export type RingAnew = (
  tx: postgres.TransactionSql,
  deliveries: readonly { readonly workspaceId: WorkspaceId; readonly deliveryId: string; readonly webhookId: string }[],
) => Promise<void>

/** Has a delivery attempted now, at the beginning of its schedule. False where its envelope is gone, or it is not there. Throws StorageError. */
export function redeliver(
  database: Database,
  workspaceId: WorkspaceId,
  deliveryId: string,
  ringAnew: RingAnew,
): Promise<boolean> {
  return storing('redeliver', () =>
    database.work.begin(async (tx) => {
      const rows = await tx`
        update deliveries set ${dueNow(tx)}
        where workspace_id = ${workspaceId} and id = ${deliveryId} and envelope is not null
        returning webhook_id`
      const [row] = rows
      if (row === undefined) return false
      await ringAnew(tx, [{ workspaceId, deliveryId, webhookId: row.webhook_id }])
      return true
    }),
  )
}

const chunkRows = 2000

/**
 * Has the deliveries of a webhook attempted now that were made within a span and never delivered, the oldest first: at most `limit`.
 * Returns how many. In steps: who is interrupted repeats the call. Throws StorageError.
 */
export async function recoverDeliveries(
  database: Database,
  workspaceId: WorkspaceId,
  webhookId: string,
  span: TimeSpan & { readonly since: Date },
  limit: number,
  ringAnew: RingAnew,
): Promise<number> {
  let recovered = 0
  for (;;) {
    const rows = Math.min(chunkRows, limit - recovered)
    const found = rows === 0 ? 0 : await recoverChunk(database, workspaceId, webhookId, span, rows, ringAnew)
    recovered += found
    if (found < chunkRows) return recovered
  }
}

function recoverChunk(
  database: Database,
  workspaceId: WorkspaceId,
  webhookId: string,
  { since, until = new Date() }: TimeSpan & { readonly since: Date },
  limit: number,
  ringAnew: RingAnew,
): Promise<number> {
  const [least, most] = [firstIdAt(since.getTime() - idSlackMs), firstIdAt(until.getTime() + idSlackMs)]
  const work = async (tx: postgres.TransactionSql) => {
    const rows = await tx`
      with chosen as materialized (
        select id from deliveries
        where workspace_id = ${workspaceId} and webhook_id = ${webhookId} and id >= ${least} and id < ${most}
          and created_at >= ${since} and created_at < ${until} and status in ('failed', 'exhausted')
          and delivered_at is null and envelope is not null
        order by id limit ${limit})
      update deliveries d set ${dueNow(tx)} from chosen
      where d.workspace_id = ${workspaceId} and d.id = chosen.id and d.id >= ${least} and d.id < ${most}
      returning d.id`
    await ringAnew(
      tx,
      rows.map(({ id }) => ({ workspaceId, deliveryId: id as string, webhookId })),
    )
    return rows.length
  }
  return storing('recover deliveries', () => database.work.begin(work), 30_000)
}

function dueNow(tx: postgres.TransactionSql) {
  return tx`status = 'pending', reason = null, failures = 0, due_at = now(), updated_at = now()`
}
