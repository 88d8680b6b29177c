import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newUuid, type WorkspaceId } from '../../src/domain/ids.ts'
import { migrate } from '../../src/migrate.ts'
import { storageOn } from '../../src/storage/backends.ts'
import { closeInterrupted, replayExchanges } from '../../src/storage/citus/exchanges.ts'
import { rollUp } from '../../src/storage/stats-roll-up.ts'
import { installCitusStandIn } from '../support/citus-stand-in.ts'
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { insertDelivery } from '../support/log-rows.ts'
import { createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { shardFault } from '../support/shard-rule.ts'
import { type StatementTap, tapStatements } from '../support/statement-tap.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

/** A whole Relevo set to Citus, and every statement that it sends. */
let database: TestDatabase
let sql: postgres.Sql
let tap: StatementTap
let relevo: TestRelevo
let tenant: FakeTenant

beforeAll(async () => {
  database = await createEmptyDatabase()
  await installCitusStandIn(database.url)
  await migrate(database.url, 'citus')
  sql = postgres(database.url, { max: 1, onnotice: () => undefined })
  tap = await tapStatements(database.url)
  tenant = await startTenant()
  tenant.always(reply({ screen: 'NEXT', data: {} }))
  relevo = await startRelevo({ DATABASE_BACKEND: 'citus', DATABASE_URL: tap.url }, { database })
})
afterAll(async () => {
  await relevo.close()
  await tenant.close()
  await tap.close()
  await sql.end()
  await database.drop()
})

/** Faults of the statements of an exchange's path that ran since `from`, each once. */
async function faultsSince(from: number): Promise<string[]> {
  const seen = new Map(tap.statements.slice(from).map((statement) => [statement.text, statement]))
  const faults: string[] = []
  for (const statement of seen.values()) {
    if (isBackground(statement.text)) continue
    const fault = await shardFault(sql, statement)
    if (fault !== null) faults.push(`${fault}: ${statement.text.trim().slice(0, 120)}`)
  }
  return faults
}

/** What runs by the clock, for all workspaces, and after an exchange: docs/scaling.md says what Citus makes of it. */
const isBackground = (text: string) =>
  [
    /update deliveries d set status/,
    /insert into attempts/,
    /from unnest\(.*join (deliveries|webhooks|webhook_secrets)/s,
    /where status in \('pending', 'failed'\) and due_at </,
    /select distinct workspace_id from exchanges where outcome is null/,
    /from workspaces/,
    // Jobs of src/maintenance, whenever their time comes.
    /(from|update) exchange_stats|insert into exchange_stats \(/,
    /order by expires_at limit/,
    /from expunges\s+where expunged_at/,
    /\) in\s+\(select/,
    /\(workspace_id, id\) > \(/,
    /webhook_breakers/,
  ].some((pattern) => pattern.test(text))

it('every statement of an exchange runs on one shard', async () => {
  const account = await createAccount(relevo)
  const other = await createAccount(relevo)
  const fallback = { fallback: { mode: 'last_good' } }
  for (const one of [account, other]) {
    await createWebhook(relevo, one, tenant.url, fallback)
    // Told asynchronously: its delivery and alarm are of the exchange's transaction.
    await createWebhook(relevo, one, tenant.url, { name: 'Observer' })
  }
  const from = tap.statements.length
  const token = `token-${newUuid()}`
  await Promise.all(
    [account, other].flatMap(({ meta }) => [
      meta.init(token),
      meta.exchange('FIRST', { a: 1 }, token),
      meta.call({ data: {}, flow_token: token, screen: 'FIRST', action: 'BACK', version: '3.0' }),
    ]),
  )
  await relevo.exchanges(account, 3)
  await relevo.exchanges(other, 3)
  await eventually(async () => {
    const [row] = await sql`select count(*)::int as n from deliveries`
    return row?.n === 6 ? row : null
  })
  const texts = tap.statements.slice(from).map(({ text }) => text)
  // The rule has something to look at.
  for (const part of [
    'insert into exchanges',
    'update exchanges',
    'insert into flow_responses',
    'insert into deliveries',
    'from flow_responses',
  ]) {
    expect(
      texts.filter((text) => text.includes(part)),
      part,
    ).not.toEqual([])
  }
  expect(await faultsSince(from)).toEqual([])
  const rows = await sql`select workspace_id, outcome, count(*)::int as n from exchanges group by 1, 2 order by 1`
  expect(rows).toEqual(
    [account, other]
      .map(({ workspaceId }) => ({ workspace_id: workspaceId, outcome: 'replied', n: 3 }))
      .sort((a, b) => (a.workspace_id < b.workspace_id ? -1 : 1)),
  )
  const responses = await sql`select status, count(*)::int as n from flow_responses group by 1`
  expect(responses).toEqual([{ status: 'IN_PROGRESS', n: 2 }])
})

it('replayed rows, late replies and closed rows of dead processes too', async () => {
  const [workspace] = await sql`select id from workspaces limit 1`
  const workspaceId = workspace?.id
  const client = postgres(tap.url, { max: 2, onnotice: () => undefined })
  const at = new Date(Date.now() - 120_000)
  const row = { workspaceId, id: newUuid(at.getTime()), clientId: null }
  const opened = {
    ...row,
    createdAt: at,
    wabaId: '1',
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: null,
    flowToken: 'replayed',
    flowId: null,
    webhookId: null,
    envelope: Buffer.from('{}'),
    flowResponse: null,
  }
  const from = tap.statements.length
  const late = [{ workspaceId, id: row.id, lateReplyMs: 900 }]
  const group = { opened: [opened, { ...opened, id: newUuid(at.getTime()) }], closed: [], deliveries: [], late }
  await replayExchanges(client, group, async () => {})
  await replayExchanges(client, { ...group, opened: [{ ...opened, clientId: 'cl_gone' }] }, async () => {})
  expect(await closeInterrupted(client, new Date(Date.now() - 60_000))).toBe(2)
  expect(await closeInterrupted(client, new Date(Date.now() - 60_000))).toBe(0)
  await client.end()
  expect(await sql`select late_reply_ms, reason from exchanges where id = ${row.id}`).toEqual([
    { late_reply_ms: 900, reason: 'interrupted' },
  ])
  expect(tap.statements.slice(from).filter(({ text }) => text.includes('for share'))).not.toEqual([])
  expect(await faultsSince(from)).toEqual([])
})

it('what a webhook never got is recovered shard by shard', async () => {
  const account = await createAccount(relevo)
  const { id } = await createWebhook(relevo, account, tenant.url)
  const workspaceId = account.workspaceId as WorkspaceId
  await insertDelivery(sql, workspaceId, { webhookId: id, status: 'exhausted' })
  const from = tap.statements.length
  const body = { since: new Date(Date.now() - 60_000).toISOString() }
  const answer = await relevo.api('POST', `/v1/webhooks/${id}/recover`, { token: account.token, body })
  expect(answer.body).toEqual({ recovered: 1, isComplete: true })
  const isOfRecovery = /as waiting\b|with chosen/
  const recovering = tap.statements.slice(from).filter(({ text }) => isOfRecovery.test(text))
  expect(recovering.length).toBeGreaterThanOrEqual(2)
  for (const statement of recovering) expect(await shardFault(sql, statement), statement.text).toBeNull()
  await eventually(async () => {
    const delivered = await sql`select from deliveries where webhook_id = ${id} and status = 'delivered'`
    return delivered.length === 1
  })
})

it('statistics are rolled up workspace by workspace', async () => {
  const client = postgres(tap.url, { max: 1, onnotice: () => undefined })
  await sql`update exchange_stats_frontier set rolled_up_until = now() - interval '1 hour'`
  const from = tap.statements.length
  const later = new Date(Date.now() + 600_000)
  // The database's clock has not come so far: what is an hour old is looked at.
  await rollUp(client, later, 'citus')
  await client.end()
  expect(tap.statements.slice(from).filter(({ text }) => text.includes('insert into exchange_stats'))).not.toEqual([])
  // An insert out of a select goes through the coordinator; what it selects must come from one shard.
  for (const { text, values } of tap.statements
    .slice(from)
    .filter((one) => one.text.includes('insert into exchange_stats'))) {
    expect(await shardFault(sql, { text: text.slice(text.indexOf('select')), values })).toBeNull()
  }
})

it('the rule sees what PostgreSQL alone can run', async () => {
  const of = (text: string, ...values: string[]) => shardFault(sql, { text, values })
  expect(await of('select 1 from exchanges where workspace_id = $1', 'a')).toBeNull()
  expect(await of('select 1 from exchanges where id = $1::uuid', newUuid())).toMatch(/names no workspace/)
  expect(await of('insert into meta_events (workspace_id, digest, created_at) values ($1, $2, now())', 'a')).toBeNull()
  expect(
    await of(
      'insert into meta_events (workspace_id, digest, created_at) select w, $2, now() from unnest($1::text[]) w',
    ),
  ).toMatch(/names no workspace/)
  expect(
    await of('select 1 from clients c, conversations v where c.workspace_id = $1 and v.workspace_id = $2', 'a', 'b'),
  ).toBe('it names 2 workspaces')
  expect(
    await of(
      'with gone as (delete from clients where workspace_id = $1 returning id) delete from conversations where workspace_id = $1',
      'a',
    ),
  ).toBe('it changes rows within a WITH')
  const plain = postgres(tap.url, { max: 1, onnotice: () => undefined })
  const from = tap.statements.length
  await storageOn('postgres').closeInterrupted(plain, new Date(0))
  await plain.end()
  expect(await faultsSince(from)).toHaveLength(1)
})
