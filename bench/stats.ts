import postgres from 'postgres'
import { rollUp } from '../src/storage/stats-roll-up.ts'
import { dayMs, days, hourMs, makeRows } from './log-rows.ts'
import { at, type RunningRelevo, withRelevo } from './running-relevo.ts'

/**
 * `npm run bench:stats [rows]`: what GET /v1/stats costs over 10 million exchanges of the last 7 days, nine in ten of them one
 * workspace's, and what it costs to roll them up. Rows have no payloads.
 */
const rows = Number(process.argv[2] ?? 10_000_000)
const calls = 200

await withRelevo(async (relevo) => {
  const sql = postgres(relevo.databaseUrl, { max: 2, onnotice: () => undefined })
  await relevo.play(1)
  const flowId = await makeFlow(relevo)
  const now = Date.now()
  await timed(`made ${rows} rows of ${days} days`, () => makeRows(sql, rows, now, flowId))
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
