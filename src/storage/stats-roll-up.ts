import type postgres from 'postgres'
import { firstIdAt } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type SpanMinutes, spanMinutes, spanStart } from '../domain/stats.ts'
import { texts, times } from './arrays.ts'
import { type DatabaseBackend, storing } from './database.ts'
import { deleteInSteps } from './old-rows.ts'
import { cellsOfExchange, cellsOfStats, fiveMinutesOfId } from './stats-cells.ts'

/** How long after its end five minutes are rolled up: their rows are written and closed by then, within seconds. */
const settleMs = 90_000
/** What one pass takes on at most: of a busy workspace this is a second's work per million rows, all in one transaction. */
const stepMs = 6 * 3_600_000
/** A pass that catches up may take long, ms. */
const passMs = 300_000

const minuteMs = 60_000

export interface RollUp {
  readonly rolledUpUntil: Date
  /** There is more to do at once. */
  readonly isBehind: boolean
}

/** A time of one workspace; without one, of all. */
interface Window {
  readonly workspaceId?: WorkspaceId
  readonly since: Date
  readonly until: Date
}

/**
 * Rolls up what has settled since the last pass, and anew what changed after it was rolled up. One transaction: until it commits,
 * statistics are read from the rows. Several processes may try: one after the other does what is left to do. Throws StorageError.
 */
export function rollUp(sql: postgres.Sql, now: Date, backend: DatabaseBackend = 'postgres'): Promise<RollUp> {
  const work = async (tx: postgres.TransactionSql): Promise<RollUp> => {
    // A clock that runs ahead must not roll up what is still to come.
    const [row] = await tx`select rolled_up_until, least(${now}, now()) as now from exchange_stats_frontier for update`
    const from: Date = row?.rolled_up_until
    const settled = spanStart(new Date(row?.now.getTime() - settleMs), 5)
    const until = new Date(Math.max(from.getTime(), Math.min(settled.getTime(), from.getTime() + stepMs)))
    // Catching up sorts some hundred thousand cells at a time: on the disk that takes twice as long.
    await tx`set local work_mem = '64MB'`
    const marks = await tx`delete from exchange_stats_stale returning workspace_id, starts_at`
    const stale = marks.map((mark) => ({ workspaceId: mark.workspace_id as WorkspaceId, at: mark.starts_at as Date }))
    for (const minutes of spanMinutes) {
      const fresh = { since: spanStart(from, minutes), until: spanStart(until, minutes) }
      const all = fresh.since < fresh.until ? [fresh] : []
      const changed = windowsOf(stale, minutes).filter((window) => window.until <= fresh.since)
      if (backend === 'citus') await rebuildSingly(tx, minutes, all, changed)
      else for (const windows of [all, changed]) if (windows.length > 0) await rebuild(tx, minutes, windows)
    }
    await tx`update exchange_stats_frontier set rolled_up_until = ${until}`
    return { rolledUpUntil: until, isBehind: until < settled }
  }
  return storing('roll up statistics', () => sql.begin(work) as Promise<RollUp>, passMs)
}

/** Removes what lies wholly before a time, in small steps, until `signal`. Returns how many. Throws StorageError. */
export function deleteStatsBefore(sql: postgres.Sql, before: Date, signal: AbortSignal): Promise<number> {
  const key = ['workspace_id', 'minutes', 'starts_at', 'flow_id', 'webhook_id', 'outcome']
  const isOld = sql`starts_at < ${before} and ${before}::timestamptz - starts_at >= minutes * interval '1 minute'`
  return deleteInSteps(sql, 'exchange_stats', key, isOld, signal)
}

/** The spans that have a stale one in them, each once. */
function windowsOf(stale: readonly { workspaceId: WorkspaceId; at: Date }[], minutes: SpanMinutes): Required<Window>[] {
  const windows = stale.map(({ workspaceId, at }) => {
    const since = spanStart(at, minutes)
    return { workspaceId, since, until: new Date(since.getTime() + minutes * minuteMs) }
  })
  const byName = new Map(windows.map((window) => [`${window.workspaceId} ${window.since.getTime()}`, window]))
  return [...byName.values()]
}

/** Citus cannot look into the rows of each workspace in turn, unless it is told each time which. */
async function rebuildSingly(
  tx: postgres.TransactionSql,
  minutes: SpanMinutes,
  all: readonly Window[],
  changed: readonly Window[],
): Promise<void> {
  const workspaces = all.length === 0 ? [] : await tx`select id from workspaces order by id`
  const each = all.flatMap((window) => workspaces.map(({ id }) => ({ ...window, workspaceId: id as WorkspaceId })))
  for (const window of [...each, ...changed]) await rebuild(tx, minutes, [window])
}

async function rebuild(tx: postgres.TransactionSql, minutes: SpanMinutes, windows: readonly Window[]): Promise<void> {
  const within = rowsOf(tx, windows)
  await tx`delete from exchange_stats s where s.minutes = ${minutes} and ${isIn(tx, windows)}`
  const finer = spanMinutes[spanMinutes.indexOf(minutes) - 1]
  const cells = finer === undefined ? cellsOfRows(tx, within) : cellsOfSpans(tx, within, minutes, finer)
  await tx`
    insert into exchange_stats (workspace_id, minutes, starts_at, flow_id, webhook_id, outcome, exchanges, late_replies,
      total_buckets, total_counts, webhook_buckets, webhook_counts)
    select workspace_id, ${minutes}::smallint, starts_at, flow_id, webhook_id, outcome,
      coalesce(sum(n) filter (where measure = 'exchanges'), 0)::int,
      coalesce(sum(n) filter (where measure = 'late_replies'), 0)::int,
      coalesce(array_agg(bucket order by bucket) filter (where measure = 'total'), '{}')::smallint[],
      coalesce(array_agg(n order by bucket) filter (where measure = 'total'), '{}')::int[],
      coalesce(array_agg(bucket order by bucket) filter (where measure = 'webhook'), '{}')::smallint[],
      coalesce(array_agg(n order by bucket) filter (where measure = 'webhook'), '{}')::int[]
    from (${cells}) cells group by workspace_id, starts_at, flow_id, webhook_id, outcome`
}

/** As `rowsOf`, but so that the planner sees that an index finds them: one time for all workspaces, or a span of one each. */
function isIn(tx: postgres.ISql, windows: readonly Window[]) {
  const [first] = windows
  if (first !== undefined && first.workspaceId === undefined) {
    return tx`s.starts_at >= ${first.since} and s.starts_at < ${first.until}`
  }
  if (first !== undefined && windows.length === 1) {
    return tx`s.workspace_id = ${first.workspaceId ?? ''} and s.starts_at >= ${first.since} and s.starts_at < ${first.until}`
  }
  return tx`(s.workspace_id, s.starts_at) in (select w.workspace_id, w.since from (${rowsOf(tx, windows)}) w)`
}

/** Windows with the ids that are made in them, which the key finds. */
function rowsOf(tx: postgres.ISql, windows: readonly Window[]) {
  const [first] = windows
  if (first !== undefined && first.workspaceId === undefined) {
    return tx`
      select id as workspace_id, ${first.since}::timestamptz as since, ${first.until}::timestamptz as until,
        ${firstIdAt(first.since.getTime())}::uuid as first_id, ${firstIdAt(first.until.getTime())}::uuid as end_id
      from workspaces`
  }
  if (first !== undefined && windows.length === 1) {
    return tx`
      select ${first.workspaceId ?? ''}::text as workspace_id, ${first.since}::timestamptz as since,
        ${first.until}::timestamptz as until, ${firstIdAt(first.since.getTime())}::uuid as first_id,
        ${firstIdAt(first.until.getTime())}::uuid as end_id`
  }
  return tx`
    select * from unnest(${texts(windows, (w) => w.workspaceId ?? null)}::text[],
      ${times(windows, (w) => w.since)}::text[]::timestamptz[], ${times(windows, (w) => w.until)}::text[]::timestamptz[],
      ${texts(windows, (w) => firstIdAt(w.since.getTime()))}::text[]::uuid[],
      ${texts(windows, (w) => firstIdAt(w.until.getTime()))}::text[]::uuid[])
      as t(workspace_id, since, until, first_id, end_id)`
}

/** Grouped for each window by itself, so that each reads its own rows by the key and never the table. */
function cellsOfRows(tx: postgres.ISql, within: postgres.PendingQuery<postgres.Row[]>) {
  return tx`
    select w.workspace_id, r.* from (${within}) w cross join lateral (
      select ${tx.unsafe(fiveMinutesOfId)} as starts_at, coalesce(e.flow_id, '') as flow_id,
        coalesce(e.webhook_id, '') as webhook_id, e.outcome, c.measure, c.bucket, count(*)::int as n
      from exchanges e cross join lateral ${tx.unsafe(cellsOfExchange)}
      where e.workspace_id = w.workspace_id and e.id >= w.first_id and e.id < w.end_id
        and e.outcome is not null and c.bucket is not null
      group by 1, 2, 3, 4, 5, 6) r`
}

function cellsOfSpans(
  tx: postgres.ISql,
  within: postgres.PendingQuery<postgres.Row[]>,
  minutes: SpanMinutes,
  finer: SpanMinutes,
) {
  return tx`
    select w.workspace_id, r.* from (${within}) w cross join lateral (
      select date_bin(${minutes} * interval '1 minute', s.starts_at, 'epoch'::timestamptz) as starts_at, s.flow_id, s.webhook_id,
        s.outcome, c.measure, c.bucket, sum(c.n)::int as n
      from exchange_stats s cross join lateral ${tx.unsafe(cellsOfStats)}
      where s.workspace_id = w.workspace_id and s.minutes = ${finer} and s.starts_at >= w.since and s.starts_at < w.until
      group by 1, 2, 3, 4, 5, 6) r`
}
