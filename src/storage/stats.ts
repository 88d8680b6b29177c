import { type SQL, sql } from 'drizzle-orm'
import { firstIdAt } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { type SpanRange, spansOf } from '../domain/stats.ts'
import { type Queryable, storing } from './database.ts'
import { cellsOfExchange } from './stats-cells.ts'

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
    const ranges = spansOf(since, rolledUntil).map((range) => rowsOf(workspaceId, range, flowId))
    const fromRows = raw(workspaceId, rawSince, until, flowId)
    const cells = await queryable.orm.execute<Cell>(
      ranges.length === 0 ? fromRows : sql`${summed(ranges)} union all ${fromRows}`,
    )
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

/** One range at a time, with its bounds as constants: of a join with all of them the planner makes a scan of the whole table. */
function rowsOf(workspaceId: WorkspaceId, { minutes, since, until }: SpanRange, flowId: string | undefined): SQL {
  return sql`
    select * from exchange_stats s
    where s.workspace_id = ${workspaceId} and s.minutes = ${minutes} and s.starts_at >= ${since.toISOString()}::timestamptz
      and s.starts_at < ${until.toISOString()}::timestamptz ${ofFlow(sql`s.flow_id`, flowId)}`
}

/** Each measure by itself, and both arrays unnested beside each other: twice as fast as one sum over `cellsOfStats`. */
function summed(ranges: readonly SQL[]): SQL {
  return sql`
    with s as materialized (${sql.join([...ranges], sql` union all `)})
    select 'total' as measure, '' as webhook_id, '' as outcome, bucket, sum(n)::float8 as n
      from (select unnest(total_buckets) as bucket, unnest(total_counts) as n from s) t group by bucket
    union all select 'webhook', webhook_id, '', bucket, sum(n)::float8
      from (select webhook_id, unnest(webhook_buckets) as bucket, unnest(webhook_counts) as n from s) t group by 2, 4
    union all select 'exchanges', webhook_id, outcome, 0, sum(exchanges)::float8 from s group by 2, 3
    union all select 'late_replies', webhook_id, '', 0, sum(late_replies)::float8 from s group by 2`
}

function raw(workspaceId: WorkspaceId, since: Date, until: Date, flowId: string | undefined): SQL {
  return sql`
    select c.measure, coalesce(e.webhook_id, '') as webhook_id, e.outcome, c.bucket, count(*)::float8 as n
    from exchanges e cross join lateral ${sql.raw(cellsOfExchange)}
    where e.workspace_id = ${workspaceId} and e.id >= ${firstIdAt(since.getTime())}::uuid
      and e.id < ${firstIdAt(until.getTime())}::uuid and e.outcome is not null and c.bucket is not null
      ${ofFlow(sql`e.flow_id`, flowId)}
    group by 1, 2, 3, 4`
}

function ofFlow(column: SQL, flowId: string | undefined): SQL {
  return flowId === undefined ? sql`` : sql`and ${column} = ${flowId}`
}

/** Some of how many are in a bucket: others may follow. */
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
      add(totals, bucket, n)
      continue
    }
    const webhook = webhooks.get(webhookId) ?? { webhookId, counts: new Map(), lateReplies: 0, times: new Map() }
    webhooks.set(webhookId, webhook)
    if (measure === 'exchanges') add(webhook.counts, outcome, n)
    else if (measure === 'webhook') add(webhook.times, bucket, n)
    else webhook.lateReplies += n
  }
  return { totals, webhooks: [...webhooks.values()] }
}

function add<Key>(counts: Map<Key, number>, key: Key, n: number): void {
  counts.set(key, (counts.get(key) ?? 0) + n)
}

function earlier(a: Date, b: Date): Date {
  return a < b ? a : b
}
