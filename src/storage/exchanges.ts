import type postgres from 'postgres'
import { resourceTypeOf } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { idBounds, numbers, type Planning, planningOn, texts } from './arrays.ts'
import { lockTimeout, storing } from './database.ts'
import type { NewDelivery } from './deliveries.ts'
import { type ClosedExchange, type OpenedExchange, recordExchanges } from './exchange-record.ts'
import { forgetEmptied } from './partitions.ts'
import { fiveMinutesOfId } from './stats-cells.ts'
import { markStale, type StaleSpan, staleSpans } from './stats-stale.ts'
import { expungedSince } from './tombstones.ts'

/** A reply that came after its deadline, and is measured only. */
export interface LateReply {
  readonly workspaceId: WorkspaceId
  readonly id: string
  /** From dispatch to its end. */
  readonly lateReplyMs: number
}

export interface ExchangeGroup {
  readonly opened: readonly OpenedExchange[]
  readonly closed: readonly ClosedExchange[]
  /** What these exchanges tell of. */
  readonly deliveries: readonly NewDelivery[]
  /** Absent: none. */
  readonly late?: readonly LateReply[]
}

/** Writes deliveries and has them attempted, as a part of the transaction `tx`. Repeatable. */
export type Enqueue = (tx: postgres.TransactionSql, deliveries: readonly NewDelivery[]) => Promise<void>

/** Writes a group in one transaction. Every statement is repeatable: ids and times are the caller's. Throws StorageError. */
export function writeExchanges(sql: postgres.Sql, group: ExchangeGroup, enqueue: Enqueue): Promise<void> {
  const { deliveries, late = [] } = group
  return storing('write exchanges', async () => {
    const stale = staleOf(group)
    // One statement is one round trip in place of three, and a transaction too.
    const isOneStatement = deliveries.length + late.length + stale.length === 0
    if (isOneStatement) await writeGroup(sql, group, stale, planningOn(sql))
    else await sql.begin((tx) => Promise.all([writeGroup(tx, group, stale, planningOn(sql)), enqueue(tx, deliveries)]))
  })
}

/**
 * Writes a group that lay on a disk meanwhile. A workspace that was deleted since gets no rows, and a client that was expunged
 * no payloads (contract.md §7). Tried again and again while rows are locked, it leaves nothing behind that waits. Throws StorageError.
 */
export function replayExchanges(sql: postgres.Sql, group: ExchangeGroup, enqueue: Enqueue): Promise<void> {
  return storing('replay exchanges', async () => {
    await sql.begin(async (tx) => {
      await tx.unsafe(lockTimeout())
      const left = await withoutGone(tx, group)
      await forgetEmptied(
        tx,
        [...left.opened, ...left.closed, ...left.deliveries].map(({ id }) => id),
      )
      await Promise.all([writeGroup(tx, left, staleOf(left), planningOn(sql)), enqueue(tx, left.deliveries)])
    })
  })
}

/**
 * Closes rows that nobody closed since `openedBefore`: their process died. A closing that comes after all, out of a spool,
 * overwrites it. In all partitions, because a spool can be old: their indexes of open rows are next to empty, and one plan for
 * all (0.3 ms) costs less than to plan for the latest anew each time (0.4 ms). Returns how many. Throws StorageError.
 */
export function closeInterrupted(sql: postgres.Sql, openedBefore: Date): Promise<number> {
  return storing('close interrupted exchanges', async () => {
    const [row] = await sql`
      with e as (
        update exchanges set outcome = 'internal_error', reason = 'interrupted'
        where outcome is null and created_at < ${openedBefore} returning workspace_id, id),
      stale as (
        insert into exchange_stats_stale (workspace_id, starts_at)
        select distinct workspace_id, ${sql.unsafe(fiveMinutesOfId)} from e)
      select count(*)::int as count from e`
    return row?.count ?? 0
  })
}

export const staleOf = ({ opened, closed, late = [] }: ExchangeGroup) => staleSpans([...opened, ...closed, ...late])

async function writeGroup(
  sql: postgres.ISql,
  group: ExchangeGroup,
  stale: readonly StaleSpan[],
  planning: Planning,
): Promise<void> {
  const { opened, closed, late = [] } = group
  if (opened.length + closed.length > 0) await recordExchanges(sql, opened, closed, planning)
  if (late.length > 0) await addLateReplies(sql, late)
  if (stale.length > 0) await markStale(sql, stale)
}

/** What is asked of the database to tell what is gone. */
export interface GoneQueries {
  /** Those of these clients that are there, locked, so that an expunge comes before this or finds these rows. */
  lockClients(
    tx: postgres.TransactionSql,
    names: readonly { readonly workspaceId: WorkspaceId; readonly clientId: string | null }[],
  ): PromiseLike<readonly postgres.Row[]>
  expungedSince: typeof expungedSince
}

const goneQueries: GoneQueries = {
  lockClients: (tx, names) => tx`
    select c.workspace_id, c.id from clients c
    join unnest(${texts(names, (n) => n.workspaceId)}::text[], ${texts(names, (n) => n.clientId)}::text[])
      as t(workspace_id, id) using (workspace_id, id)
    order by c.workspace_id, c.id for share of c`,
  expungedSince,
}

export async function withoutGone(
  tx: postgres.TransactionSql,
  group: ExchangeGroup,
  queries: GoneQueries = goneQueries,
): Promise<ExchangeGroup> {
  const { opened, closed, late = [], deliveries } = group
  const rows = [...opened, ...closed, ...deliveries]
  const workspaceIds = [...new Set([...rows, ...late].map(({ workspaceId }) => workspaceId))]
  const ofClients = rows.filter(({ clientId }) => clientId !== null)
  const uses = opened.flatMap(({ id, workspaceId, clientId, flowToken, createdAt }) =>
    clientId === null && flowToken !== null ? [{ id, workspaceId, flowToken, at: createdAt }] : [],
  )
  const completions = closed.flatMap(({ id, workspaceId, clientId, completed }) =>
    clientId === null && completed?.completedAt
      ? [{ id, workspaceId, flowToken: completed.flowToken, at: completed.completedAt }]
      : [],
  )
  const tellings = deliveries.flatMap(({ id, workspaceId, clientId, event, resourceId, createdAt }) =>
    clientId === null && resourceId !== null && resourceTypeOf(event) === 'flow_response'
      ? [{ id, workspaceId, flowToken: resourceId, at: createdAt }]
      : [],
  )
  const [workspaces, clients, expunged] = await Promise.all([
    tx`select id from workspaces where id = any(${workspaceIds}::text[])`,
    queries.lockClients(tx, ofClients),
    // Spooled without its client, a row is tied to a person by its flow token alone.
    queries.expungedSince(tx, [...uses, ...completions, ...tellings]),
  ])
  const expungedIds = new Set([...expunged].map(({ id }) => id))
  const known = new Set([...workspaces.map(({ id }) => id), ...clients.map((c) => `${c.workspace_id} ${c.id}`)])
  const isGone = ({ id, workspaceId, clientId }: OpenedExchange | ClosedExchange | NewDelivery) =>
    clientId === null ? expungedIds.has(id) : !known.has(`${workspaceId} ${clientId}`)
  return {
    opened: opened
      .filter(({ workspaceId }) => known.has(workspaceId))
      .map((row) => (isGone(row) ? { ...row, ...emptyOpening } : row)),
    closed: closed
      .filter(({ workspaceId }) => known.has(workspaceId))
      .map((row) => (isGone(row) ? { ...row, ...emptyClosing } : row)),
    deliveries: deliveries
      .filter(({ workspaceId }) => known.has(workspaceId))
      .map((row) => (isGone(row) ? { ...row, ...emptyDelivery } : row)),
    late: late.filter(({ workspaceId }) => known.has(workspaceId)),
  }
}

const emptyOpening = { screen: null, flowToken: null, clientId: null, envelope: null, flowResponse: null }
const emptyDelivery = { resourceId: null, clientId: null, envelope: null }
const emptyClosing = { clientId: null, answer: null, answerScreen: null, completed: null }

function addLateReplies(tx: postgres.ISql, rows: readonly LateReply[]) {
  const [least, greatest] = idBounds(rows.map(({ id }) => id))
  return tx`
    update exchanges e set late_reply_ms = t.late_reply_ms
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.id)}::text[]::uuid[],
      ${numbers(rows, (r) => r.lateReplyMs)}::text[]::float8[]) as t(workspace_id, id, late_reply_ms)
    where e.workspace_id = t.workspace_id and e.id = t.id and e.id between ${least} and ${greatest}
      and t.id between ${least} and ${greatest}`
}
