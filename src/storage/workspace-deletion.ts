import { and, eq, ne, type SQL, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing, type Transaction, transaction } from './database.ts'
import { type LookedAgain, lookAgain } from './look-again.ts'
import {
  attempts,
  deliveries,
  exchangeStats,
  exchangeStatsStale,
  exchanges,
  expunges,
  flowResponses,
  idempotentCalls,
  metaEvents,
  wabas,
  webhookBreakers,
  workspaces,
} from './schema.ts'
import { changeConfig, existing, hintChange } from './workspaces.ts'

/** Rows of one statement before the deletion proper: it must hold their locks for milliseconds only. */
const chunkRows = 5000
/** For one such step, ms. */
const stepMs = 60_000
/** For what is left then, ms. */
const deleteMs = 600_000

/**
 * Removes a workspace and all that belongs to it but its audit log, which outlives what it tells of. One transaction, with the
 * hint to relays in it; before it, its WABAs go, so that nothing comes any more, and what no exchange touches then in small steps. There may be millions of
 * such rows, and an exchange, or what Meta tells, that waited for one of them would hold up every tenant behind it. That it is gone is noted, for
 * rows that are on their way now. Who is interrupted repeats the call. Throws ApiError `not_found`.
 */
export async function deleteWorkspace(database: Database, id: WorkspaceId): Promise<void> {
  await changeConfig(database, id, 'delete WABAs', (tx) => tx.orm.delete(wabas).where(eq(wabas.workspaceId, id)))
  for (const table of [sql`exchanges`, sql`attempts`, sql`deliveries`]) {
    await deleteInSteps(database, id, table, sql`created_at < now() - interval '10 minutes'`)
  }
  // Their conversations go with clients.
  for (const table of [sql`flow_responses`, sql`clients`]) await deleteInSteps(database, id, table, sql`true`)
  const work = async (tx: Transaction) => {
    // What refers to the workspace goes with it.
    const gone = await tx.orm.delete(workspaces).where(eq(workspaces.id, id)).returning({ id: workspaces.id })
    existing(gone, 'workspace')
    await deleteRows(tx, id)
    const digest = sql`sha256(convert_to(${id}, 'UTF8'))`
    await tx.orm.insert(expunges).values({ workspaceId: id, kind: 'workspace', digest, expungedAt: sql`now()` })
    await hintChange(tx, id)
  }
  await transaction(database, 'delete workspace', work, deleteMs)
}

/**
 * Removes rows that were on their way to the database when their workspace was deleted, of all that were since `since`: another process hears of it
 * up to 10 s later, and answers and writes until then. Of one workspace alone where it is given. Repeatable. Throws StorageError where it cannot be known
 * which were deleted.
 */
export async function deleteWorkspacesAgain(
  queryable: Queryable,
  since: Date,
  signal: AbortSignal,
  workspaceId: WorkspaceId | null = null,
): Promise<LookedAgain> {
  const ofOne = workspaceId === null ? sql`` : sql`and workspace_id = ${workspaceId}`
  const gone = await storing('read deleted workspaces', () =>
    queryable.orm.execute<{ workspace_id: WorkspaceId }>(sql`
      select workspace_id from expunges
      where expunged_at > ${since.toISOString()}::timestamptz and kind = 'workspace' ${ofOne}`),
  )
  const groups = gone.map(({ workspace_id }) => ({ workspaceId: workspace_id }))
  return lookAgain(queryable, 'delete rows again', groups, (tx, group) => deleteRows(tx, group.workspaceId), signal)
}

/** What refers to no workspace, and so neither goes with it nor is kept from coming after it. Returns how many rows it was. */
async function deleteRows(tx: Transaction, id: WorkspaceId): Promise<number> {
  let rows = 0
  // In the order in which exchanges write theirs, and the roll-up its own: two that wait for each other's rows would be one too many.
  const logs = [flowResponses, exchanges, attempts, deliveries, exchangeStatsStale, exchangeStats]
  for (const table of [...logs, metaEvents, idempotentCalls, webhookBreakers]) {
    rows += (await tx.orm.delete(table).where(eq(table.workspaceId, id))).count
  }
  const ofPersons = and(eq(expunges.workspaceId, id), ne(expunges.kind, 'workspace'))
  return rows + (await tx.orm.delete(expunges).where(ofPersons)).count
}

/** Oldest first, up to an id: so that partitions that are empty already are done with, and later ones not yet looked into. */
async function deleteInSteps(database: Database, id: WorkspaceId, table: SQL, isOld: SQL): Promise<void> {
  const theirs = sql`workspace_id = ${id} and ${isOld}`
  for (;;) {
    const first = sql`select id from ${table} where ${theirs} order by id offset ${chunkRows - 1} limit 1`
    const [last] = await storing('look for old rows', () => database.orm.execute<{ id: string }>(first), stepMs)
    const upToLast = last === undefined ? sql`` : sql`and id <= ${last.id}`
    await storing(
      'delete old rows',
      () => database.orm.execute(sql`delete from ${table} where ${theirs} ${upToLast}`),
      stepMs,
    )
    if (last === undefined) return
  }
}
