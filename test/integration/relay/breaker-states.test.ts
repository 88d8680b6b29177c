import { setTimeout as pause } from 'node:timers/promises'
import { pino } from 'pino'
import postgres from 'postgres'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { OpenBreaker } from '../../../src/delivery/gatekeeper.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import { BreakerStates } from '../../../src/relay/breaker-states.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { deleteOldRows } from '../../../src/storage/old-rows.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

const times = { soonMs: 5, everyMs: 50 }

let made: TestDatabase
let proxy: TcpProxy
let database: Database
let sql: postgres.Sql
let open: OpenBreaker[]
let states: BreakerStates
/** How often it has looked at what is open. */
let looks: number

beforeEach(async () => {
  made = await createTestDatabase()
  proxy = await startProxy(made.settings.url)
  database = openDatabase({ ...made.settings, url: proxy.url })
  sql = postgres(made.url, { max: 1 })
  open = []
  looks = 0
  states = process('1-aaaaaa', look)
})
afterEach(async () => {
  await states.close()
  await database.close()
  await sql.end()
  await proxy.close()
  await made.drop()
})

function process(processName: string, openNow: () => OpenBreaker[], heartbeatMs = 200): BreakerStates {
  const gatekeeper = { open: openNow }
  return new BreakerStates({
    database,
    gatekeeper,
    log: pino({ enabled: false }),
    processName,
    now: () => 10_000,
    times: { ...times, heartbeatMs },
  })
}

function look(): OpenBreaker[] {
  looks += 1
  return open
}

const breaker = (webhookId: string, state: OpenBreaker['state'] = 'open', sinceMs = 4_000): OpenBreaker => ({
  webhookId,
  workspaceId: 'ws_1' as WorkspaceId,
  state,
  sinceMs,
})
const rows = async () =>
  (await sql`select process, webhook_id, state from webhook_breakers order by 1, 2`).map((row) =>
    Object.values(row).join(' '),
  )
const eventuallyRows = (expected: string[]) =>
  eventually(
    async () => {
      const now = await rows()
      if (now.join() !== expected.join()) throw new Error(`${now.join()} in place of ${expected.join()}`)
      return true
    },
    { timeoutMs: 20_000 },
  )

it('writes what is not closed, with its time, and follows it: half open by the clock alone, and closed', async () => {
  open = [breaker('wh_1'), breaker('wh_2')]
  states.changed()
  await eventuallyRows(['1-aaaaaa wh_1 open', '1-aaaaaa wh_2 open'])
  const [row] = await sql`select extract(epoch from now() - since)::float8 as age from webhook_breakers`
  expect(row?.age).toBeGreaterThanOrEqual(6)
  expect(row?.age).toBeLessThan(30)
  open = [breaker('wh_1', 'half_open'), breaker('wh_2')]
  await eventuallyRows(['1-aaaaaa wh_1 half_open', '1-aaaaaa wh_2 open'])
  open = [breaker('wh_2')]
  await eventuallyRows(['1-aaaaaa wh_2 open'])
})

it('keeps to its own rows, and takes them back when the process ends', async () => {
  const other = process('2-bbbbbb', () => [breaker('wh_1')])
  open = [breaker('wh_1'), breaker('wh_2')]
  states.changed()
  other.changed()
  await eventuallyRows(['1-aaaaaa wh_1 open', '1-aaaaaa wh_2 open', '2-bbbbbb wh_1 open'])
  await states.close()
  expect(await rows()).toEqual(['2-bbbbbb wh_1 open'])
  states.changed()
  await other.close()
  expect(await rows()).toEqual([])
})

it('says again that it lives, and writes anew what somebody took for dead and removed', async () => {
  open = [breaker('wh_1')]
  states.changed()
  await eventuallyRows(['1-aaaaaa wh_1 open'])
  const [before] = await sql`select since from webhook_breakers`
  await sql`update webhook_breakers set seen_at = now() - interval '2 hours'`
  await deleteOldRows(sql, 'webhook_breakers', new Date(Date.now() - 3_600_000), AbortSignal.timeout(10_000))
  expect(await rows()).toEqual([])
  await eventuallyRows(['1-aaaaaa wh_1 open'])
  expect((await sql`select since from webhook_breakers`)[0]).toEqual(before)
})

it('writes what opens while the removal of the last one is slow', async () => {
  // No heartbeat, which would look again by itself.
  states = process('1-aaaaaa', look, 3_600_000)
  open = [breaker('wh_1')]
  states.changed()
  await eventuallyRows(['1-aaaaaa wh_1 open'])
  const holder = postgres(made.url, { max: 1 })
  const waiting = () =>
    sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  await holder.begin(async (transaction) => {
    await transaction`select from webhook_breakers for update`
    open = []
    await eventually(async () => (await waiting()).length > 0, { timeoutMs: 20_000 })
    open = [breaker('wh_2')]
    states.changed()
    // A timer as long as its own, set after it.
    await pause(times.soonMs)
  })
  await holder.end()
  await eventuallyRows(['1-aaaaaa wh_2 open'])
})

it('while the database is away only the newest counts; once it is back the table is like it', async () => {
  // No heartbeat: what could not be written is tried again by itself.
  states = process('1-aaaaaa', look, 3_600_000)
  open = [breaker('wh_1'), breaker('wh_2')]
  states.changed()
  await eventuallyRows(['1-aaaaaa wh_1 open', '1-aaaaaa wh_2 open'])
  await proxy.cut()
  const newest = [breaker('wh_1', 'half_open', 9_000), breaker('wh_3')]
  const passing = [1, 2].map((i) => [breaker('wh_1', 'open', 5_000 + i), breaker(`wh_passing_${i}`)])
  for (const now of [...passing, newest]) {
    open = now
    const before = looks
    await eventually(() => looks > before + 1, { timeoutMs: 20_000 })
  }
  await proxy.restore()
  await eventuallyRows(['1-aaaaaa wh_1 half_open', '1-aaaaaa wh_3 open'])
  open = []
  await eventuallyRows([])
})
