import type postgres from 'postgres'
import { isExchangeEvent, resourceTypeOf, subscribableEvents } from '../domain/events.ts'
import type { FlowResponse } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { byteas, jsons, numbers, texts, times } from './arrays.ts'
import { storable, storing } from './database.ts'
import type { NewDelivery } from './deliveries.ts'
import { forgetEmptied } from './partitions.ts'
import type { ExchangeTimings, RecordedAttempt } from './schema.ts'
import { fiveMinutesOfId } from './stats-cells.ts'
import { markStale, type StaleSpan, staleSpans } from './stats-stale.ts'
import { expungedSince } from './tombstones.ts'

/** What is known when an exchange is opened: before its webhook is asked. */
export interface OpenedExchange {
  readonly workspaceId: WorkspaceId
  readonly id: string
  readonly createdAt: Date
  readonly wabaId: string
  readonly event: string | null
  readonly action: string | null
  readonly screen: string | null
  readonly flowToken: string | null
  readonly flowId: string | null
  readonly clientId: string | null
  readonly webhookId: string | null
  /** The exact bytes sent to the webhook. */
  readonly envelope: Buffer | null
  /** The flow token's state with this exchange counted; null where no row is made (shared tokens, no token). */
  readonly flowResponse: FlowResponse | null
}

/** What closes it: after the answer is made. */
export interface ClosedExchange {
  readonly workspaceId: WorkspaceId
  readonly id: string
  readonly clientId: string | null
  readonly outcome: Outcome
  /** What `outcome` does not say; null where it says it all. */
  readonly reason: string | null
  readonly durationMs: number
  readonly webhookMs: number | null
  readonly timings: ExchangeTimings
  /** The answer's plaintext as sent to the phone. */
  readonly answer: Buffer | null
  readonly answerScreen: string | null
  readonly attempt: RecordedAttempt | null
  /** The flow token's state after a relayed SUCCESS; null where it did not move. */
  readonly completed: FlowResponse | null
}

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
  const { opened, closed, deliveries } = group
  return storing('write exchanges', async () => {
    const { late = [] } = group
    const stale = staleOf(group)
    const isOneStatement = [opened, closed, late, stale, deliveries].filter((rows) => rows.length > 0).length < 2
    // One statement is one round trip in place of four, and a transaction too.
    if (isOneStatement && deliveries.length === 0) await writeGroup(sql, group, stale)
    else await sql.begin((tx) => Promise.all([writeGroup(tx, group, stale), enqueue(tx, deliveries)]))
  })
}

/**
 * Writes a group that lay on a disk meanwhile. A workspace that was deleted since gets no rows, and a client that was expunged
 * no payloads (contract.md §7). Throws StorageError.
 */
export function replayExchanges(sql: postgres.Sql, group: ExchangeGroup, enqueue: Enqueue): Promise<void> {
  return storing('replay exchanges', async () => {
    await sql.begin(async (tx) => {
      const left = await withoutGone(tx, group)
      await forgetEmptied(
        tx,
        [...left.opened, ...left.closed, ...left.deliveries].map(({ id }) => id),
      )
      await Promise.all([writeGroup(tx, left, staleOf(left)), enqueue(tx, left.deliveries)])
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

const staleOf = ({ opened, closed, late = [] }: ExchangeGroup) => staleSpans([...opened, ...closed, ...late])

async function writeGroup(sql: postgres.ISql, group: ExchangeGroup, stale: readonly StaleSpan[]): Promise<void> {
  const { opened, closed, late = [] } = group
  const states = lastStates(opened, closed)
  if (opened.length > 0 && closed.length > 0) {
    // A statement does not see what another part of it inserted.
    await Promise.all([insertOpened(sql, opened), closeAndUpsert(sql, closed, states)])
  } else if (closed.length > 0) {
    await closeAndUpsert(sql, closed, states)
  } else if (opened.length > 0) {
    const insert = insertOpened(sql, opened)
    await (states.length === 0 ? insert : sql`with opened as (${insert}) ${upsertFlowResponses(sql, states)}`)
  }
  if (late.length > 0) await addLateReplies(sql, late)
  if (stale.length > 0) await markStale(sql, stale)
}

function closeAndUpsert(sql: postgres.ISql, closed: readonly ClosedExchange[], states: readonly OwnedState[]) {
  const update = close(sql, closed)
  return states.length === 0 ? update : sql`with closed as (${update}) ${upsertFlowResponses(sql, states)}`
}

async function withoutGone(tx: postgres.TransactionSql, group: ExchangeGroup): Promise<ExchangeGroup> {
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
    // Locked, so that an expunge comes before this or finds these rows.
    tx`select c.workspace_id, c.id from clients c
      join unnest(${texts(ofClients, (r) => r.workspaceId)}::text[], ${texts(ofClients, (r) => r.clientId)}::text[])
        as t(workspace_id, id) using (workspace_id, id)
      order by c.workspace_id, c.id for share of c`,
    // Spooled without its client, a row is tied to a person by its flow token alone.
    expungedSince(tx, [...uses, ...completions, ...tellings]),
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

// One unnest insert per group: one statement, prepared once, whatever the group's size.
function insertOpened(tx: postgres.ISql, rows: readonly OpenedExchange[]) {
  return tx`
    insert into exchanges (workspace_id, id, created_at, waba_id, event, action, screen, flow_token, flow_token_digest,
      flow_id, client_id, webhook_id, envelope)
    select workspace_id, id, created_at, waba_id, event, action, screen, flow_token,
      sha256(convert_to(flow_token, 'UTF8')), flow_id, client_id, webhook_id, envelope
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.id)}::text[]::uuid[],
      ${times(rows, (r) => r.createdAt)}::text[]::timestamptz[], ${texts(rows, (r) => r.wabaId)}::text[],
      ${texts(rows, (r) => r.event)}::text[], ${texts(rows, (r) => r.action)}::text[],
      ${texts(rows, (r) => r.screen)}::text[], ${texts(rows, (r) => r.flowToken)}::text[],
      ${texts(rows, (r) => r.flowId)}::text[], ${texts(rows, (r) => r.clientId)}::text[],
      ${texts(rows, (r) => r.webhookId)}::text[], ${byteas(rows, (r) => r.envelope)}::text[]::bytea[])
      as t(workspace_id, id, created_at, waba_id, event, action, screen, flow_token, flow_id, client_id, webhook_id, envelope)
    on conflict (workspace_id, id) do nothing`
}

const exchangeEvents = subscribableEvents.filter(isExchangeEvent)

/**
 * The group's least and greatest id let PostgreSQL leave out the partitions of other days (with 34 of them 0.35 ms in place of 1.3 for
 * one row). An exchange without envelope and flow token was
 * expunged since it was opened, and gets no answer either.
 */
function close(tx: postgres.ISql, rows: readonly ClosedExchange[]) {
  const ids = rows.map(({ id }) => id).sort()
  const isExpunged = tx`e.envelope is null and e.flow_token is null and e.event = any(${exchangeEvents}::text[])`
  return tx`
    update exchanges e set outcome = t.outcome, reason = t.reason, duration_ms = t.duration_ms, webhook_ms = t.webhook_ms,
      timings = t.timings, attempt = t.attempt,
      answer = case when ${isExpunged} then null else t.answer end,
      answer_screen = case when ${isExpunged} then null else t.answer_screen end
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.id)}::text[]::uuid[],
      ${texts(rows, (r) => r.outcome)}::text[], ${texts(rows, (r) => r.reason)}::text[],
      ${numbers(rows, (r) => r.durationMs)}::text[]::float8[],
      ${numbers(rows, (r) => r.webhookMs)}::text[]::float8[], ${jsons(rows, (r) => r.timings)}::text[]::jsonb[],
      ${byteas(rows, (r) => r.answer)}::text[]::bytea[], ${texts(rows, (r) => r.answerScreen)}::text[],
      ${jsons(rows, (r) => r.attempt)}::text[]::jsonb[])
      as t(workspace_id, id, outcome, reason, duration_ms, webhook_ms, timings, answer, answer_screen, attempt)
    where e.workspace_id = t.workspace_id and e.id = t.id and e.id >= ${ids[0] ?? ''} and e.id <= ${ids.at(-1) ?? ''}`
}

function addLateReplies(tx: postgres.ISql, rows: readonly LateReply[]) {
  return tx`
    update exchanges e set late_reply_ms = t.late_reply_ms
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.id)}::text[]::uuid[],
      ${numbers(rows, (r) => r.lateReplyMs)}::text[]::float8[]) as t(workspace_id, id, late_reply_ms)
    where e.workspace_id = t.workspace_id and e.id = t.id`
}

interface OwnedState {
  readonly workspaceId: WorkspaceId
  readonly state: FlowResponse
}

/** An upsert may name a row once, so of several states of one token in a group the last counts, with the first opening. */
function lastStates(opened: readonly OpenedExchange[], closed: readonly ClosedExchange[]): OwnedState[] {
  const states = new Map<string, OwnedState>()
  const add = (workspaceId: WorkspaceId, state: FlowResponse | null) => {
    if (state === null) return
    const name = `${workspaceId} ${storable(state.flowToken)}`
    const openedAt = earliest(states.get(name)?.state.openedAt ?? null, state.openedAt)
    states.set(name, { workspaceId, state: { ...state, openedAt } })
  }
  for (const { workspaceId, flowResponse } of opened) add(workspaceId, flowResponse)
  for (const { workspaceId, completed } of closed) add(workspaceId, completed)
  return [...states.values()]
}

function earliest(a: Date | null, b: Date | null): Date | null {
  if (a === null || b === null) return a ?? b
  return a < b ? a : b
}

/** A row that waited for the database is as old as its exchange. Final states stay, the first opening stays, activity only moves forward; what a tenant registered is never overwritten. */
function upsertFlowResponses(tx: postgres.ISql, rows: readonly OwnedState[]) {
  return tx`
    insert into flow_responses as r (workspace_id, id, flow_token, flow_token_digest, flow_id, status, opened_at,
      last_activity_at, completed_at, expires_at, created_at, updated_at)
    select workspace_id, id, flow_token, sha256(convert_to(flow_token, 'UTF8')), flow_id, status, opened_at,
      last_activity_at, completed_at, expires_at, last_activity_at, last_activity_at
    from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.state.id)}::text[],
      ${texts(rows, (r) => r.state.flowToken)}::text[], ${texts(rows, (r) => r.state.flowId)}::text[],
      ${texts(rows, (r) => r.state.status)}::text[], ${times(rows, (r) => r.state.openedAt)}::text[]::timestamptz[],
      ${times(rows, (r) => r.state.lastActivityAt)}::text[]::timestamptz[],
      ${times(rows, (r) => r.state.completedAt)}::text[]::timestamptz[],
      ${times(rows, (r) => r.state.expiresAt)}::text[]::timestamptz[])
      as t(workspace_id, id, flow_token, flow_id, status, opened_at, last_activity_at, completed_at, expires_at)
    order by workspace_id, flow_token
    on conflict (workspace_id, flow_token_digest) do update set
      status = case when r.status in ('COMPLETED', 'EXPIRED') then r.status
        when excluded.last_activity_at >= r.expires_at then 'EXPIRED' else excluded.status end,
      flow_id = coalesce(r.flow_id, excluded.flow_id),
      opened_at = case when r.status in ('COMPLETED', 'EXPIRED') or excluded.last_activity_at >= r.expires_at
        then r.opened_at else least(r.opened_at, excluded.opened_at) end,
      last_activity_at = greatest(r.last_activity_at, excluded.last_activity_at),
      completed_at = case when r.status in ('COMPLETED', 'EXPIRED') or excluded.last_activity_at >= r.expires_at
        then r.completed_at else excluded.completed_at end,
      updated_at = greatest(r.updated_at, excluded.updated_at)`
}
