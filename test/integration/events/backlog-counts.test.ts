import { pino } from 'pino'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { mostWaiting } from '../../../src/domain/delivery.ts'
import { newWorkspaceId } from '../../../src/domain/ids.ts'
import { Backlog } from '../../../src/events/backlog.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { insertDelivery } from '../../support/log-rows.ts'
import { type StatementTap, tapStatements } from '../../support/statement-tap.ts'

let testDatabase: TestDatabase
let tap: StatementTap
let database: Database
let sql: postgres.Sql
const workspaceId = newWorkspaceId()

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  tap = await tapStatements(testDatabase.settings.url)
  database = openDatabase({ ...testDatabase.settings, url: tap.url })
  sql = postgres(testDatabase.url, { max: 1 })
  // As where a count reads what nobody cleaned up: one row of this webhook takes longer than a count may.
  await sql.unsafe(`
    alter table deliveries rename to kept_deliveries;
    create view deliveries as select * from kept_deliveries where webhook_id <> 'wh_slow' or pg_sleep(20) is not null`)
})
beforeEach(() => tap.statements.splice(0))
afterAll(async () => {
  await sql.end()
  await database.close()
  await tap.close()
  await testDatabase.drop()
})

const times = { recountMs: 20, longRecountMs: 400, countMs: 300 }
const openBacklog = (of = database) =>
  new Backlog(of, pino({ enabled: false }), { deliveryExhausted: () => undefined }, times)

const counts = () => tap.statements.filter(({ text }) => text.includes('as waiting'))
const countsOf = (webhookId: string) => counts().filter(({ values }) => values.some((it) => it?.includes(webhookId)))

async function wait(webhookId: string, rows: number): Promise<void> {
  await sql`
    insert into kept_deliveries (workspace_id, id, webhook_id, event_id, event, occurred_at, envelope, status, due_at, created_at, updated_at)
    select ${workspaceId}, gen_random_uuid(), ${webhookId}, gen_random_uuid(), 'whatsapp.flows.init', now(), '', 'failed', now(),
      now(), now() from generate_series(1, ${rows})`
}

it('a count that takes too long is ended in the database, and is nobody else’s', async () => {
  for (const webhookId of ['wh_slow', 'wh_other'])
    await insertDelivery(sql, workspaceId, { webhookId, status: 'failed' })
  await wait('wh_other', 500)
  const backlog = openBacklog()
  // Not counted yet: together, in one statement, which fails.
  for (const webhookId of ['wh_slow', 'wh_other']) expect(backlog.admit(workspaceId, webhookId)).toBe(true)
  await eventually(() => backlog.isLong('wh_other'))
  await eventually(() => countsOf('wh_slow').length >= 3)
  // A count of one of them alone each time since.
  expect(counts().filter((it) => countsOf('wh_slow').includes(it) && countsOf('wh_other').includes(it))).toHaveLength(1)
  await backlog.close()
  const [row] = await sql`
    select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`
  expect(row?.n).toBe(0)
})

it('a webhook whose counts take too long is not full of what was delivered meanwhile', async () => {
  const backlog = openBacklog()
  const admit = (deliveries: number) => {
    let admitted = 0
    for (let n = 0; n < deliveries; n++) if (backlog.admit(workspaceId, 'wh_slow')) admitted++
    return admitted
  }
  expect(admit(mostWaiting - 1)).toBe(mostWaiting - 1)
  // Its first count is ended, and it has room again.
  await eventually(() => admit(2) === 2)
  expect(admit(mostWaiting / 2)).toBe(mostWaiting / 2)
  await backlog.close()
})

it('while the database is away, what was added waits', async () => {
  const away = openDatabase({ ...testDatabase.settings, url: 'postgres://127.0.0.1:1/away' })
  let asked = 0
  const backlog = openBacklog({
    ...away,
    get work() {
      asked++
      return away.work
    },
  })
  for (let n = 0; n < mostWaiting; n++) expect(backlog.admit(workspaceId, 'wh_spooled')).toBe(true)
  expect(backlog.admit(workspaceId, 'wh_spooled')).toBe(false)
  await eventually(() => asked >= 2)
  expect(backlog.admit(workspaceId, 'wh_spooled')).toBe(false)
  await backlog.close()
  await away.close()
})

it('one that is full is not counted each second, and has room once it is counted again', async () => {
  await wait('wh_full', mostWaiting)
  const backlog = openBacklog()
  for (const webhookId of ['wh_full', 'wh_busy']) backlog.admit(workspaceId, webhookId)
  await eventually(() => !backlog.admit(workspaceId, 'wh_full'))
  tap.statements.splice(0)
  await eventually(() => backlog.admit(workspaceId, 'wh_busy') && countsOf('wh_busy').length >= 12)
  expect(countsOf('wh_full').length).toBeLessThanOrEqual(countsOf('wh_busy').length / 3)
  await sql`truncate kept_deliveries`
  await eventually(() => backlog.admit(workspaceId, 'wh_full'))
  await backlog.close()
})
