import { type SQL, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { spansOf } from '../domain/stats.ts'
import { times } from './arrays.ts'
import { type Queryable, storing } from './database.ts'
import { cellsOfExchange, cellsOfStats } from './stats-cells.ts'
import { firstIdAt } from './time-span.ts'

export interface StatsQuery {
  /** Both at a whole five minutes. */
  readonly since: Date
  readonly until: Date
  readonly flowId?: string | undefined
}

export interface WebhookStats {
  /** Empty for exchanges that no webhook was to answer. */
  readonly webhookId: string
  readonly counts: Map<Outcome, number>
  lateReplies: number
  /** Of its own times, as buckets of domain/histogram.ts. */
  readonly times: Map<number, number>
}

export interface Stats {
  /** Before the query's own where the roll-up is so far behind that not all was read. */
  readonly until: Date
  readonly totals: ReadonlyMap<number, number>
  readonly webhooks: readonly WebhookStats[]
}

/** How much time is read from rows. The roll-up is some six minutes behind; where it stands still a call must not read a week's rows. */
const mostRawMs = 3_600_000

/** Exchanges by when their ids were made: from the roll-up as far as it goes, from their rows after it. Throws StorageError. */
export function readStats(queryable: Queryable, workspaceId: WorkspaceId, query: StatsQuery): Promise<Stats> {
  return storing('read statistics', async () => {
    const rolledUpUntil = await frontier(queryable)
    const { since, flowId } = query
    const rolledUntil = earlier(query.until, rolledUpUntil)
    const rawSince = since < rolledUntil ? rolledUntil : since
    const until = earlier(query.until, new Date(Math.max(since.getTime(), rolledUpUntil.getTime() + mostRawMs)))
    const cells = await queryable.orm.execute<Cell>(sql`
      select measure, case when measure = 'total' then '' else webhook_id end as webhook_id,
        case when measure = 'exchanges' then outcome else '' end as outcome, bucket, sum(n)::float8 as n
      from (${rolledUp(workspaceId, since, rolledUntil, flowId)} union all ${raw(workspaceId, rawSince, until, flowId)}) cells
      group by 1, 2, 3, 4`)
    return { until, ...collect(cells) }
  })
}

/** Apart from the rest: what was rolled up once stays so. */
async function frontier({ orm }: Queryable): Promise<Date> {
  const [row] = await orm.execute<{ ms: number }>(
    sql`select extract(epoch from rolled_up_until)::float8 * 1000 as ms from exchange_stats_frontier`,
  )
  return new Date(row?.ms ?? 0)
}

function rolledUp(workspaceId: WorkspaceId, since: Date, until: Date, flowId: string | undefined): SQL {
  const spans = spansOf(since, until)
  const minutes = sql.param(spans.map((span) => String(span.minutes)))
  return sql`
    select c.measure, s.webhook_id, s.outcome, c.bucket, c.n
    from unnest(${minutes}::text[]::smallint[], ${sql.param(times(spans, (span) => span.since))}::text[]::timestamptz[],
      ${sql.param(times(spans, (span) => span.until))}::text[]::timestamptz[]) as w(minutes, since, until)
    join exchange_stats s on s.workspace_id = ${workspaceId} and s.minutes = w.minutes and s.starts_at >= w.since
      and s.starts_at < w.until ${flowId === undefined ? sql`` : sql`and s.flow_id = ${flowId}`}
    cross join lateral ${sql.raw(cellsOfStats)}`
}

function raw(workspaceId: WorkspaceId, since: Date, until: Date, flowId: string | undefined): SQL {
  return sql`
    select c.measure, coalesce(e.webhook_id, ''), e.outcome, c.bucket, 1
    from exchanges e cross join lateral ${sql.raw(cellsOfExchange)}
    where e.workspace_id = ${workspaceId} and e.id >= ${firstIdAt(since.getTime())}::uuid
      and e.id < ${firstIdAt(until.getTime())}::uuid and e.outcome is not null and c.bucket is not null
      ${flowId === undefined ? sql`` : sql`and e.flow_id = ${flowId}`}`
}

interface Cell extends Record<string, unknown> {
  readonly measure: 'exchanges' | 'late_replies' | 'total' | 'webhook'
  readonly webhook_id: string
  readonly outcome: Outcome
  readonly bucket: number
  readonly n: number
}

function collect(cells: Iterable<Cell>): Pick<Stats, 'totals' | 'webhooks'> {
  const totals = new Map<number, number>()
  const webhooks = new Map<string, WebhookStats>()
  for (const { measure, webhook_id: webhookId, outcome, bucket, n } of cells) {
    if (measure === 'total') {
      totals.set(bucket, n)
      continue
    }
    const webhook = webhooks.get(webhookId) ?? { webhookId, counts: new Map(), lateReplies: 0, times: new Map() }
    webhooks.set(webhookId, webhook)
    if (measure === 'exchanges') webhook.counts.set(outcome, n)
    else if (measure === 'webhook') webhook.times.set(bucket, n)
    else webhook.lateReplies = n
  }
  return { totals, webhooks: [...webhooks.values()] }
}

function earlier(a: Date, b: Date): Date {
  return a < b ? a : b
}
