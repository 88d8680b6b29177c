import type postgres from 'postgres'
import {
  type ClosedExchange,
  closingOf,
  isExpunged,
  lastStates,
  moving,
  type OpenedExchange,
  openingOf,
} from '../exchange-record.ts'

/**
 * As recordExchanges does, a statement for each row: each names its workspace by equality and nothing else, which is all that Citus looks at
 * to send it to one shard. Sent together, answered in order. As a part of the transaction `tx`, whose rows are of one workspace.
 */
export async function recordExchangesByRow(
  tx: postgres.ISql,
  opened: readonly OpenedExchange[],
  closed: readonly ClosedExchange[],
): Promise<void> {
  const run = (statement: string, values: readonly unknown[]) =>
    tx.unsafe(statement, values as postgres.ParameterOrJSON<never>[], { prepare: true })
  await Promise.all([
    // In one order everywhere, that of their bytes, and before the exchanges, so that no two ever wait for each other's rows.
    ...lastStates(opened, closed)
      .toSorted((a, b) => Buffer.compare(Buffer.from(a.flow_token), Buffer.from(b.flow_token)))
      .map((state) => run(flowResponse, valuesOf(state, stateColumns))),
    ...opened.map((row) => run(opening, valuesOf(openingOf(row), openingColumns))),
    ...closed.map((row) => run(closing, [row.workspaceId, row.id, ...valuesOf(closingOf(row), closingColumns)])),
  ])
}

const openingColumns = [
  ...['workspace_id', 'id', 'created_at', 'waba_id', 'event', 'action', 'screen', 'flow_token', 'flow_id', 'client_id'],
  ...['webhook_id', 'envelope'],
] as const
const closingColumns = [
  ...['outcome', 'reason', 'duration_ms', 'webhook_ms', 'timings', 'attempt', 'answer', 'answer_screen', 'is_bare'],
] as const
const stateColumns = [
  ...['workspace_id', 'id', 'flow_token', 'flow_id', 'status', 'opened_at', 'last_activity_at', 'completed_at'],
  'expires_at',
] as const

/** Bytes come as base64, JSON as what it is made of: the driver knows the columns' types. */
const valuesOf = (row: object, columns: readonly string[]) =>
  columns.map((column) => (row as Record<string, unknown>)[column] ?? null)

const opening = `
  insert into exchanges (${openingColumns.join(', ')}, flow_token_digest)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, decode($12::text, 'base64'), sha256(convert_to($8, 'UTF8')))
  on conflict (workspace_id, id) do nothing`

const closing = `
  update exchanges e set outcome = $3, reason = $4, duration_ms = $5, webhook_ms = $6, timings = $7, attempt = $8,
    answer = case when ${isExpunged('$11::boolean')} then null else decode($9::text, 'base64') end,
    answer_screen = case when ${isExpunged('$11::boolean')} then null else $10 end
  where e.workspace_id = $1 and e.id = $2`

const flowResponse = `
  insert into flow_responses as r (${stateColumns.join(', ')}, flow_token_digest, created_at, updated_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, sha256(convert_to($3, 'UTF8')), $7, $7)
  ${moving}`
