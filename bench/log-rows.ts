import type postgres from 'postgres'
import { firstIdAt } from '../src/domain/day.ts'

export const days = 7
export const [hourMs, dayMs] = [3_600_000, 86_400_000]
const others = 99

/** So many exchanges without payloads up to `now`, evenly over the days, in the partitions that the days' ids belong to: nine in ten the only webhook's. */
export async function makeRows(sql: postgres.Sql, rows: number, now: number, flowId: string): Promise<void> {
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
