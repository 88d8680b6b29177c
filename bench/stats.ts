import postgres from 'postgres'
import { firstIdAt } from '../src/domain/day.ts'
import { rollUp } from '../src/storage/stats-roll-up.ts'
import { at, type RunningRelevo, withRelevo } from './running-relevo.ts'

/**
 * `npm run bench:stats [rows]`: what GET /v1/stats costs over 10 million exchanges of the last 7 days, nine in ten of them one
 * workspace's, and what it costs to roll them up. Rows have no payloads.
 */
const rows = Number(process.argv[2] ?? 10_000_000)
const calls = 200
const days = 7
const [hourMs, dayMs] = [3_600_000, 86_400_000]
const others = 99

await withRelevo(async (relevo) => {
  const sql = postgres(relevo.databaseUrl, { max: 2, onnotice: () => undefined })
  await relevo.play(1)
  const flowId = await makeFlow(relevo)
  const now = Date.now()
  await timed(`made ${rows} rows of ${days} days`, () => makeRows(sql, now, flowId))
  await rollUpAll(sql, now)
  await printSizes(sql)
  console.log(`GET /v1/stats, ${calls} calls each      p50      p95`)
  const ago = (ms: number) => `since=${new Date(now - ms).toISOString()}`
  await measure(relevo, 'the last 15 min', ago(hourMs / 4))
  await measure(relevo, 'the last 24 h (default)', '')
  await measure(relevo, 'the last 24 h, one flow', `flowId=${flowId}`)
  await measure(relevo, '7 days', ago(days * dayMs))
  await measure(relevo, '7 days, all edges cut', ago(days * dayMs - 14 * hourMs - 25 * 60_000))
  await sql.end()
})

async function makeFlow({ api }: RunningRelevo): Promise<string> {
  return String((await api('POST', '/v1/flows', { wabaId: 'bench', metaFlowId: '1' })).id)
}

/** Evenly over the days, in the partitions that the days' ids belong to. */
async function makeRows(sql: postgres.Sql, now: number, flowId: string): Promise<void> {
  const [bench] = await sql`select workspace_id, id from webhooks`
  await sql`insert into workspaces (id, name) select 'ws_other' || n, 'Other' from generate_series(1, ${others}::int) n`
  const first = now - days * dayMs
  for (let day = Math.floor(first / dayMs) * dayMs; day < now; day += dayMs) {
    const name = `exchanges_${new Date(day).toISOString().slice(0, 10).replaceAll('-', '')}`
    const [from, to] = [firstIdAt(day), firstIdAt(day + dayMs)]
    await sql.unsafe(
      `create table if not exists ${name} partition of exchanges for values from ('${from}') to ('${to}')`,
    )
    const [since, until] = [Math.max(day, first), Math.min(day + dayMs, now)]
    await insertRows(sql, since, until, Math.round((rows * (until - since)) / (now - first)), bench ?? {}, flowId)
  }
  await sql`analyze exchanges`
}

async function insertRows(
  sql: postgres.Sql,
  since: number,
  until: number,
  n: number,
  bench: postgres.Row,
  flowId: string,
) {
  await sql`
    insert into exchanges (workspace_id, id, created_at, waba_id, event, action, flow_id, webhook_id, outcome, duration_ms,
      webhook_ms, late_reply_ms)
    select case when kind < 0.9 then ${bench.workspace_id} else 'ws_other' || (1 + floor(kind * 1e6)::int % ${others}) end,
      (lpad(to_hex(ms), 12, '0') || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid,
      to_timestamp(ms / 1000.0), 'bench', 'whatsapp.flows.screen_advance', 'data_exchange',
      case when flow < 0.4 then ${flowId} else 'flow_' || floor(flow * 10)::int end,
      case when flow < 0.6 then ${bench.id} else 'wh_' || floor(flow * 10)::int end,
      case when ending < 0.92 then 'replied' when ending < 0.97 then 'timeout' when ending < 0.99 then 'bad_status' else 'repeated' end,
      case when ending < 0.92 then thought + 4 else 704 end, case when ending < 0.92 then thought else 700.5 end,
      case when ending >= 0.92 and ending < 0.96 then 700 + thought end
    from (
      select ${since}::bigint + floor(i * ${(until - since) / n}::float8)::bigint as ms, random() as kind, random() as flow,
        random() as ending, least(exp(random_normal(4.6, 0.6)), 699) as thought
      from generate_series(0, ${n - 1}::int) i) made`
}

async function rollUpAll(sql: postgres.Sql, now: number): Promise<void> {
  const begin = new Date(Math.floor((now - days * dayMs) / dayMs) * dayMs)
  await sql`update exchange_stats_frontier set rolled_up_until = ${begin}`
  const passes: number[] = []
  await timed('rolled up', async () => {
    for (let isBehind = true; isBehind; ) {
      const startedAt = performance.now()
      ;({ isBehind } = await rollUp(sql, new Date(now)))
      passes.push(performance.now() - startedAt)
    }
  })
  console.log(`a pass of 6 h that catches up       p50 ${at(passes, 0.5).toFixed(0)} ms`)
  const steady: number[] = []
  for (let pass = 0; pass < 20; pass++) {
    await sql`update exchange_stats_frontier set rolled_up_until = rolled_up_until - interval '5 minutes'`
    const startedAt = performance.now()
    await rollUp(sql, new Date(now))
    steady.push(performance.now() - startedAt)
  }
  console.log(`a pass of 5 min, as it goes on      p50 ${at(steady, 0.5).toFixed(0)} ms`)
}

async function printSizes(sql: postgres.Sql): Promise<void> {
  const [stats] = await sql`
    select count(*)::int as count, (pg_total_relation_size('exchange_stats') / 1048576)::int as mib from exchange_stats`
  console.log(`exchange_stats                      ${stats?.count} rows, ${stats?.mib} MiB`)
}

async function measure({ api }: RunningRelevo, name: string, query: string): Promise<void> {
  const times: number[] = []
  let exchanges: unknown
  for (let call = 0; call < calls; call++) {
    const startedAt = performance.now()
    ;({ exchanges } = await api('GET', `/v1/stats?${query}`))
    times.push(performance.now() - startedAt)
  }
  const figure = (share: number) => `${at(times, share).toFixed(1).padStart(6)} ms`
  console.log(`${name.padEnd(34)} ${figure(0.5)} ${figure(0.95)}   of ${exchanges} exchanges`)
}

async function timed(what: string, work: () => Promise<void>): Promise<void> {
  const startedAt = performance.now()
  await work()
  console.log(`${what} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
}
