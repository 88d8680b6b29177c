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
/** Of one step. */
const recoverMs = 30_000

export interface Recovered {
  readonly recovered: number
  /** False where `limit` left some. */
  readonly isComplete: boolean
}

/**
 * Has the deliveries of a webhook attempted now that were made within a span and never delivered, the oldest first: at most `limit`.
 * In steps: who is interrupted repeats the call. Each begins after the last id of the one before, as what was set anew may have failed
 * again by then. Throws StorageError.
 */
export async function recoverDeliveries(
  database: Database,
  workspaceId: WorkspaceId,
  webhookId: string,
  { since, until = new Date() }: TimeSpan & { readonly since: Date },
  limit: number,
  ringAnew: RingAnew,
): Promise<Recovered> {
  const most = firstIdAt(until.getTime() + idSlackMs)
  let after = firstIdAt(since.getTime() - idSlackMs)
  let recovered = 0
  for (;;) {
    const lost: Lost = { workspaceId, webhookId, since, until, after, most }
    if (recovered === limit) return { recovered, isComplete: !(await isAnyLost(database, lost)) }
    const rows = Math.min(chunkRows, limit - recovered)
    const ids = await recoverChunk(database, lost, rows, ringAnew)
    recovered += ids.length
    if (ids.length < rows) return { recovered, isComplete: true }
    after = ids.reduce((last, id) => (id > last ? id : last), after)
  }
}

/** Deliveries that never arrived, of the ids after one and before another. */
interface Lost {
  readonly workspaceId: WorkspaceId
  readonly webhookId: string
  readonly since: Date
  readonly until: Date
  readonly after: string
  readonly most: string
}

function isLost(sql: postgres.ISql, { workspaceId, webhookId, since, until, after, most }: Lost) {
  return sql`workspace_id = ${workspaceId} and webhook_id = ${webhookId} and id > ${after} and id < ${most}
    and created_at >= ${since} and created_at < ${until} and status in ('failed', 'exhausted')
    and delivered_at is null and envelope is not null`
}

function isAnyLost({ work }: Database, lost: Lost): Promise<boolean> {
  const look = async () => (await work`select id from deliveries where ${isLost(work, lost)} limit 1`).length > 0
  return storing('look for deliveries to recover', look, recoverMs)
}

/** Returns the ids. */
function recoverChunk(database: Database, lost: Lost, limit: number, ringAnew: RingAnew): Promise<string[]> {
  const { workspaceId, webhookId, after, most } = lost
  const work = async (tx: postgres.TransactionSql) => {
    const rows = await tx`
      with chosen as materialized (
        select id from deliveries where ${isLost(tx, lost)} order by id limit ${limit})
      update deliveries d set ${dueNow(tx)} from chosen
      where d.workspace_id = ${workspaceId} and d.id = chosen.id and d.id > ${after} and d.id < ${most}
      returning d.id`
    const ids = rows.map(({ id }) => id as string)
    await ringAnew(
      tx,
      ids.map((deliveryId) => ({ workspaceId, deliveryId, webhookId })),
    )
    return ids
  }
  return storing('recover deliveries', () => database.work.begin(work), recoverMs)
}

function dueNow(tx: postgres.TransactionSql) {
  return tx`status = 'pending', reason = null, failures = 0, due_at = now(), updated_at = now()`
}
