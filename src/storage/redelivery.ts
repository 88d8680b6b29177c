import type postgres from 'postgres'
import { firstIdAt } from '../domain/day.ts'
import type { DeliveryStatus } from '../domain/delivery.ts'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, lockTimeout, StorageError, storing } from './database.ts'
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
      await tx.unsafe(lockTimeout())
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
  /** False where `room` left some. */
  readonly isComplete: boolean
}

/**
 * Has the deliveries of a webhook attempted now that were made within a span and never delivered, the oldest first. Of those that wait no more at most
 * `room`; those that wait for their next attempt wait already. In steps: who is interrupted repeats the call. Each begins after the last id of the one
 * before, as what was set anew may have failed again by then. Throws StorageError; ApiError `database_unavailable` where a step takes too long.
 */
export async function recoverDeliveries(
  database: Database,
  workspaceId: WorkspaceId,
  webhookId: string,
  { since, until = new Date() }: TimeSpan & { readonly since: Date },
  room: number,
  ringAnew: RingAnew,
): Promise<Recovered> {
  const most = firstIdAt(until.getTime() + idSlackMs)
  const first = firstIdAt(since.getTime() - idSlackMs)
  const span = { workspaceId, webhookId, since, until, most }
  let [after, recovered, left] = [first, 0, room]
  for (;;) {
    const rows = left > 0 ? Math.min(chunkRows, left) : chunkRows
    const statuses: DeliveryStatus[] = left > 0 ? ['failed', 'exhausted'] : ['failed']
    const chosen = await recoverChunk(database, { ...span, after, statuses }, rows, ringAnew)
    recovered += chosen.length
    left -= chosen.filter(({ was }) => was === 'exhausted').length
    if (chosen.length < rows) break
    after = chosen.reduce((last, { id }) => (id > last ? id : last), after)
  }
  const isComplete = left > 0 || !(await isAnyLost(database, { ...span, after: first, statuses: ['exhausted'] }))
  return { recovered, isComplete }
}

/** Deliveries that never arrived, of the ids after one and before another. */
interface Lost {
  readonly workspaceId: WorkspaceId
  readonly webhookId: string
  readonly since: Date
  readonly until: Date
  readonly after: string
  readonly most: string
  readonly statuses: readonly DeliveryStatus[]
}

function isLost(sql: postgres.ISql, { workspaceId, webhookId, since, until, after, most, statuses }: Lost) {
  return sql`workspace_id = ${workspaceId} and webhook_id = ${webhookId} and id > ${after} and id < ${most}
    and created_at >= ${since} and created_at < ${until} and status in ${sql(statuses)}
    and delivered_at is null and envelope is not null`
}

function isAnyLost(database: Database, lost: Lost): Promise<boolean> {
  const look = async (tx: postgres.TransactionSql) =>
    (await tx`select id from deliveries where ${isLost(tx, lost)} limit 1`).length > 0
  return inTime(database, 'look for deliveries to recover', look)
}

/** One that ends meanwhile is passed over: its row is locked before it is chosen. */
function recoverChunk(
  database: Database,
  lost: Lost,
  limit: number,
  ringAnew: RingAnew,
): Promise<{ readonly id: string; readonly was: DeliveryStatus }[]> {
  const { workspaceId, webhookId, after, most } = lost
  return inTime(database, 'recover deliveries', async (tx) => {
    const rows = await tx<{ id: string; was: DeliveryStatus }[]>`
      with chosen as materialized (
        select id, status from deliveries where ${isLost(tx, lost)} order by id limit ${limit} for update)
      update deliveries d set ${dueNow(tx)} from chosen
      where d.workspace_id = ${workspaceId} and d.id = chosen.id and d.id > ${after} and d.id < ${most}
      returning d.id, chosen.status as was`
    await ringAnew(
      tx,
      rows.map(({ id }) => ({ workspaceId, deliveryId: id, webhookId })),
    )
    return [...rows]
  })
}

/** One step, which the database ends itself: one that goes on for nobody keeps its connection from others. */
function inTime<T>(
  { work }: Database,
  operation: string,
  run: (tx: postgres.TransactionSql) => Promise<T>,
): Promise<T> {
  const step = async (tx: postgres.TransactionSql) => {
    await tx.unsafe(`set local statement_timeout = ${recoverMs}`)
    return run(tx)
  }
  const done = storing(operation, () => work.begin(step) as Promise<T>, recoverMs + 1000)
  return done.catch((error: unknown) => {
    if (!(error instanceof StorageError && error.sqlState === '57014')) throw error
    throw new ApiError('database_unavailable', 'this took too long; try again, or narrow it by since and until')
  })
}

function dueNow(tx: postgres.TransactionSql) {
  return tx`status = 'pending', reason = null, failures = 0, due_at = now(), updated_at = now()`
}
