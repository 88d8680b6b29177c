import type postgres from 'postgres'
import { timeOfId } from '../../domain/day.ts'
import type { WorkspaceId } from '../../domain/ids.ts'
import { spanStart } from '../../domain/stats.ts'
import { lockTimeout, storing } from '../database.ts'
import { type Enqueue, type ExchangeGroup, type GoneQueries, staleOf, withoutGone } from '../exchanges.ts'
import { forgetEmptied } from '../partitions.ts'
import { expungedOf } from '../tombstones.ts'
import { recordExchangesByRow } from './exchange-rows.ts'

/**
 * What src/storage/exchanges.ts does, for Citus: it routes a statement that names one workspace to the one worker that has it, and cannot route
 * one statement with rows of many, nor one that inserts within a WITH. So a group is written workspace by workspace, each in a transaction of its own
 * on one worker. A group that fails half-way is written again: every statement is repeatable.
 */
export function writeExchanges(sql: postgres.Sql, group: ExchangeGroup, enqueue: Enqueue): Promise<void> {
  return storing('write exchanges', () =>
    eachWorkspace(group, (workspaceId, part) =>
      sql.begin((tx) => Promise.all([writeGroup(tx, workspaceId, part), enqueue(tx, part.deliveries)])),
    ),
  )
}

export function replayExchanges(sql: postgres.Sql, group: ExchangeGroup, enqueue: Enqueue): Promise<void> {
  return storing('replay exchanges', () =>
    eachWorkspace(group, (workspaceId, part) =>
      sql.begin(async (tx) => {
        await tx.unsafe(lockTimeout())
        const left = await withoutGone(tx, part, goneOf(workspaceId))
        const rows = [...left.opened, ...left.closed, ...left.deliveries]
        await forgetEmptied(
          tx,
          rows.map(({ id }) => id),
        )
        await Promise.all([writeGroup(tx, workspaceId, left), enqueue(tx, left.deliveries)])
      }),
    ),
  )
}

export function closeInterrupted(sql: postgres.Sql, openedBefore: Date): Promise<number> {
  return storing('close interrupted exchanges', async () => {
    const found = await sql`
      select distinct workspace_id from exchanges where outcome is null and created_at < ${openedBefore}`
    let closed = 0
    for (const row of found) closed += await closeIn(sql, row.workspace_id, openedBefore)
    return closed
  })
}

function closeIn(sql: postgres.Sql, workspaceId: WorkspaceId, openedBefore: Date): Promise<number> {
  const work = async (tx: postgres.TransactionSql) => {
    const rows = await tx`
      update exchanges set outcome = 'internal_error', reason = 'interrupted'
      where workspace_id = ${workspaceId} and outcome is null and created_at < ${openedBefore} returning id`
    const starts = new Set(rows.map(({ id }) => spanStart(new Date(timeOfId(id)), 5).getTime()))
    for (const startsAt of starts) await markStaleIn(tx, workspaceId, new Date(startsAt))
    return rows.length
  }
  return sql.begin(work) as Promise<number>
}

/** All at once, over as many connections as there are; whoever fails is told of when none is under way any more. */
async function eachWorkspace(
  group: ExchangeGroup,
  write: (workspaceId: WorkspaceId, part: ExchangeGroup) => Promise<unknown>,
): Promise<void> {
  const { opened, closed, deliveries, late = [] } = group
  const workspaceIds = new Set([...opened, ...closed, ...deliveries, ...late].map(({ workspaceId }) => workspaceId))
  const writes = [...workspaceIds].map((workspaceId) => {
    const isIts = (row: { readonly workspaceId: WorkspaceId }) => row.workspaceId === workspaceId
    return write(workspaceId, {
      opened: opened.filter(isIts),
      closed: closed.filter(isIts),
      deliveries: deliveries.filter(isIts),
      late: late.filter(isIts),
    })
  })
  const failed = (await Promise.allSettled(writes)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

async function writeGroup(tx: postgres.TransactionSql, workspaceId: WorkspaceId, group: ExchangeGroup): Promise<void> {
  await Promise.all([
    recordExchangesByRow(tx, group.opened, group.closed),
    ...(group.late ?? []).map(
      ({ id, lateReplyMs }) =>
        tx`update exchanges set late_reply_ms = ${lateReplyMs} where workspace_id = ${workspaceId} and id = ${id}`,
    ),
    ...staleOf(group).map(({ startsAt }) => markStaleIn(tx, workspaceId, startsAt)),
  ])
}

const markStaleIn = (tx: postgres.TransactionSql, workspaceId: WorkspaceId, startsAt: Date) =>
  tx`insert into exchange_stats_stale (workspace_id, starts_at) values (${workspaceId}, ${startsAt})`

function goneOf(workspaceId: WorkspaceId): GoneQueries {
  return {
    lockClients: (tx, names) => tx`
      select workspace_id, id from clients
      where workspace_id = ${workspaceId} and id = any(${names.map(({ clientId }) => clientId)}::text[])
      order by id for share`,
    expungedSince: (tx, uses) => expungedOf(tx, workspaceId, uses),
  }
}
