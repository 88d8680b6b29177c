import type postgres from 'postgres'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { planningOn } from '../../../src/storage/arrays.ts'
import { loadLinked } from '../../../src/storage/completions.ts'
import { recordProgress } from '../../../src/storage/delivery-work.ts'
import { openClient } from '../../../src/storage/driver.ts'
import { recordExchanges } from '../../../src/storage/exchange-record.ts'
import { makePartitionsAhead } from '../../../src/storage/partitions.ts'
import { replaceSealed, sealedColumns, sealedUnderOthers } from '../../../src/storage/sealed-rows.ts'
import { loadSessions } from '../../../src/storage/sessions.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

/** Plans are kept, and are made while the tables are empty: on the first day, and each midnight for the day's partitions. */
let database: TestDatabase
let sql: postgres.Sql
const workspaceId = newWorkspaceId()

beforeAll(async () => {
  database = await createTestDatabase()
  // On one connection: what is prepared there can be asked for.
  sql = openClient(database.url, { max: 1 })
  await makePartitionsAhead(sql, new Date(), 3)
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

/** How what was prepared with this text in it runs: with these values, or any. */
async function planOf(text: string, values: readonly string[] = []): Promise<string> {
  const [found] = await sql.unsafe(
    `select name, statement, cardinality(parameter_types) as parameters from pg_prepared_statements
      where statement like '%${text}%' and statement not like '%pg_prepared%'`,
  )
  const explained =
    values.length === 0
      ? genericPlan(found?.name, found?.parameters)
      : sql.unsafe(`explain ${found?.statement}`, [...values])
  return (await explained).map((row) => row['QUERY PLAN']).join('\n')
}

/** As `explain (generic_plan)`, which PostgreSQL 15 has not. Pruning would leave nothing to see for values that are null. */
function genericPlan(name: string, parameters: number): Promise<postgres.Row[]> {
  const nulls = Array<string>(parameters).fill('null')
  return sql.begin(async (tx) => {
    await tx`set local plan_cache_mode = force_generic_plan`
    await tx`set local enable_partition_pruning = off`
    return tx.unsafe(`explain execute "${name}"(${nulls})`)
  })
}

const closed = {
  workspaceId,
  id: newUuid(),
  clientId: null,
  outcome: 'replied',
  reason: null,
  durationMs: 1,
  webhookMs: 1,
  timings: { verify: 0, decrypt: 0, enrich: 0, webhook: 0, encrypt: 0, total: 1 },
  answer: null,
  answerScreen: null,
  attempt: null,
  completed: null,
} as const

it.each(['once', 'each_time'] as const)('closing exchanges, planned %s, looks each up by its key', async (planning) => {
  await recordExchanges(sql, [], [closed], planning)
  const rows = JSON.stringify([{ workspace_id: workspaceId, id: closed.id }])
  for (const values of [['[]', rows, '[]', closed.id, closed.id], []]) {
    const plan = await planOf(planning === 'once' ? 'update exchanges%concat' : 'update exchanges%e.id >= $4', values)
    expect(plan).toMatch(/Index Scan using exchanges_.*\n *Index Cond: .*workspace_id = /)
    expect(plan).not.toMatch(/(Hash|Merge) Join/)
  }
})

/** Plans are of a session: that of the tests above has one that was made without leaving partitions out. */
function openSession(prepare = true): postgres.Sql {
  const session = openClient(database.url, { max: 1, prepare })
  onTestFinished(() => session.end())
  return session
}

/** How often a statement with this text in it was planned for any values, and for the very ones, in twelve runs. */
async function plansOf(session: postgres.Sql, text: string, run: () => Promise<unknown>) {
  for (let at = 0; at < 12; at++) await run()
  const [row] = await session.unsafe(`
    select name, generic_plans::int as any, custom_plans::int as very from pg_prepared_statements
    where statement like '%${text}%concat%' and statement not like '%pg_prepared%'`)
  return { name: row?.name, any: row?.any, very: row?.very }
}

it('a group of rows is planned once, and leaves out the partitions of other days all the same', async () => {
  const session = openSession()
  const group = () => recordExchanges(session, [], [{ ...closed, id: newUuid() }], planningOn(session))
  const { name, ...plans } = await plansOf(session, 'update exchanges', group)
  // PostgreSQL always makes five for the very values first.
  expect(plans).toEqual({ any: 7, very: 5 })
  const values = ['[]', '[]', '[]', closed.id, closed.id].map((value) => `'${value}'`)
  const rows = await session.unsafe(`explain execute "${name}"(${values})`)
  expect(rows.map((row) => row['QUERY PLAN']).join('\n')).toMatch(/Subplans Removed: 4/)
})

it('what became of deliveries is planned once', async () => {
  const session = openSession()
  const at = new Date()
  const ofDelivery = () => ({ workspaceId, deliveryId: newUuid(), webhookId: 'w', wasDueAt: at, at, attempt: null })
  const ended = { status: 'delivered', reason: null, attempts: 1, failures: 0, dueAt: null } as const
  const progress = () => recordProgress(session, [{ ...ofDelivery(), ...ended }], planningOn(session))
  expect(await plansOf(session, 'update deliveries', progress)).toMatchObject({ any: 7, very: 5 })
})

it('a session that keeps no statements has them planned each time', () => {
  expect(planningOn(openSession(false))).toBe('each_time')
})

it('a session is looked up by its token and not among all of its workspace', async () => {
  await loadSessions(sql, [{ workspaceId, flowToken: 'x', action: 'init', screen: null }], false)
  const plan = await planOf('from flow_responses')
  expect(plan).toMatch(/Index Scan using flow_responses_flow_token on flow_responses/)
  expect(plan).toMatch(/Index Scan using conversations_workspace_id_id_pk .*\n *Index Cond: .*id >= /)
  expect(plan).toMatch(/Index Scan using clients_workspace_id_id_pk .*\n *Index Cond: .*id >= /)
})

it('a session is looked up by its token also where it was planned when few were there', async () => {
  const own = await createTestDatabase()
  const [session, other] = [openClient(own.url, { max: 1 }), openClient(own.url, { max: 1 })]
  onTestFinished(async () => {
    await Promise.all([session.end(), other.end()])
    await own.drop()
  })
  const insert = (count: number) => other`
    insert into flow_responses (workspace_id, id, flow_token, flow_token_digest, status, expires_at)
    select ${workspaceId}, 'fr_' || gen_random_uuid(), t, sha256(t::bytea), 'SENT', now()
    from (select gen_random_uuid()::text as t from generate_series(1, ${count}::int)) tokens`
  const load = async (times: number) => {
    const query = { workspaceId, flowToken: 'x', action: 'init', screen: null }
    for (let at = 0; at < times; at++) await loadSessions(session, Array(100).fill(query), false)
  }
  // A backend remembers how high an index was, and learns better of the one alone that it uses: another looks cheaper then.
  await insert(10)
  await load(4)
  await insert(190)
  await load(9)
  await insert(2000)
  await load(9)
  const read = async () =>
    (
      await session`
    select idx_tup_read::int as read from pg_stat_user_indexes where indexrelname = 'flow_responses_workspace_id_id_pk'`
    )[0]?.read
  await session`select pg_stat_force_next_flush()`
  const before = await read()
  await load(1)
  await session`select pg_stat_force_next_flush()`
  expect((await read()) - before).toBe(0)
})

it('the clients of completed flows, and of their conversations, are looked up by their key', async () => {
  await sql.begin((tx) => loadLinked(tx, workspaceId, ['c'], ['v']))
  const plan = await planOf('from clients%from conversations')
  expect(plan).toMatch(/Index Scan using clients_workspace_id_id_pk .*\n *Index Cond: .* AND \(id = ANY /)
  expect(plan).toMatch(/Index Scan using conversations_workspace_id_id_pk .*\n *Index Cond: .* AND \(id = ANY /)
})

it('an earlier answer is looked for from a token’s latest exchange on, in the order of its index', async () => {
  await loadSessions(sql, [{ workspaceId, flowToken: 'x', action: 'init', screen: null }], true)
  const plan = await planOf('answer_screen = t.screen')
  expect(plan.match(/Limit .*\n *-> {2}Merge Append .*\n *Sort Key: exchanges.*\.id DESC NULLS LAST/g)).toHaveLength(2)
  expect(plan).not.toContain('Sort  (')
})

it.each(sealedColumns)('sealed values of $table, $column, are walked and replaced by their key', async (column) => {
  const value = { workspaceId, rowId: '00', sealed: Buffer.alloc(5) }
  for await (const page of sealedUnderOthers(sql, column, Buffer.alloc(4))) expect(page).toEqual([])
  await replaceSealed(sql, column, value, Buffer.alloc(5))
  const key = column.table === 'wabas' ? 'wabas' : `${column.table}_workspace_id_${column.id}_pk`
  for (const text of [`${column.column}" from 2`, `set "${column.column}"`]) {
    const plan = await planOf(text)
    expect(plan).toMatch(new RegExp(`Index Scan using ${key}[a-z_]* .*\n *Index Cond: .*workspace_id`))
    expect(plan).not.toContain('Sort')
  }
})
