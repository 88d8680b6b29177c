import postgres from 'postgres'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { dayMs, dayOf, nameOfDay } from '../../../src/domain/day.ts'
import { newWorkspaceId, type WorkspaceId } from '../../../src/domain/ids.ts'
import { createJobs } from '../../../src/maintenance/jobs.ts'
import { createLog } from '../../../src/ops/logger.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import type { OpenedExchange } from '../../../src/storage/exchange-record.ts'
import { replayExchanges } from '../../../src/storage/exchanges.ts'
import { listPartitions, makePartition, partitionedTables } from '../../../src/storage/partitions.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { insertAttempt, insertDelivery, insertExchange } from '../../support/log-rows.ts'

let made: TestDatabase
let database: Database
let sql: postgres.Sql
let workspaceId: WorkspaceId
const today = dayOf(Date.now())
const at = (days: number) => new Date(today + days * dayMs + dayMs / 2)

beforeEach(async () => {
  made = await createTestDatabase()
  database = openDatabase(made.settings)
  sql = postgres(made.url, { max: 2 })
  workspaceId = newWorkspaceId()
  await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
  for (const table of partitionedTables) {
    for (let days = -10; days < 0; days++) await makePartition(sql, table, today + days * dayMs)
  }
})
afterEach(async () => {
  await sql.end()
  await database.close()
  await made.drop()
})

/** One process, which empties payloads as on the day so far from now. Returns the rows of the partitions in which it found some. */
function emptier(logDays = 30, payloadDays = 7): (days?: number) => Promise<unknown[]> {
  const lines: Record<string, unknown>[] = []
  const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  const metrics = { defaultPartitionRows: () => undefined, queueMeasured: () => undefined }
  let days = 0
  const clocks = { now: () => at(days), databaseNow: async () => at(days) }
  const jobs = createJobs({ database, log, metrics, payloadDays, logDays, ...clocks })
  return async (now = 0) => {
    days = now
    await jobs.find(({ name }) => name === 'empty_payloads')?.run(new AbortController().signal)
    return lines.splice(0).map(({ rows }) => rows)
  }
}

/** A process that was just elected. */
const emptyPayloads = (days = 0, logDays = 30, payloadDays = 7) => emptier(logDays, payloadDays)(days)

const idsWith = async (table: string, payload: string) =>
  (await sql`select id from ${sql(table)} where ${sql.unsafe(payload)} order by id`).map(({ id }) => id)
const notes = async () => (await listPartitions(sql)).filter(({ isEmptied }) => isEmptied).length

it('payloads are emptied everywhere they stand once they are old, to the moment; the rest of the row stays', async () => {
  const noon = at(-7).getTime()
  const [old, young] = [new Date(noon - 1), new Date(noon)]
  const exchangeIds = [await insertExchange(sql, workspaceId, { at: old, flowToken: 't', clientId: 'c' })]
  exchangeIds.push(await insertExchange(sql, workspaceId, { at: young }))
  const deliveryIds = [await insertDelivery(sql, workspaceId, { at: old, flowToken: 't' })]
  deliveryIds.push(await insertDelivery(sql, workspaceId, { at: young }))
  const attemptIds: string[] = []
  for (const time of [old, young]) {
    attemptIds.push(await insertAttempt(sql, workspaceId, { at: time, deliveryId: deliveryIds[0] ?? '' }))
  }
  expect(await emptyPayloads()).toEqual([1, 1, 1])
  expect(await idsWith('exchanges', 'envelope is not null and answer is not null')).toEqual(exchangeIds.slice(1))
  expect(await idsWith('deliveries', 'envelope is not null')).toEqual(deliveryIds.slice(1))
  expect(await idsWith('attempts', 'response_body is not null and response_headers is not null')).toEqual(
    attemptIds.slice(1),
  )
  const [row] = await sql`select * from exchanges where id = ${exchangeIds[0] ?? ''}`
  const stays = { flow_token: 't', client_id: 'c', screen: 'FIRST', outcome: 'replied', duration_ms: 12.5 }
  expect(row).toMatchObject({ ...stays, envelope: null, answer: null })
  expect(await sql`select status, resource_id from deliveries where envelope is null`).toEqual([
    { status: 'delivered', resource_id: 't' },
  ])
  expect(await sql`select status, bytes from attempts where response_body is null`).toEqual([{ status: 500, bytes: 4 }])
})

it('a delivery that waits keeps its payload until it ended', async () => {
  const times = { at: at(-9) }
  const waiting = [
    await insertDelivery(sql, workspaceId, { ...times, status: 'pending' }),
    await insertDelivery(sql, workspaceId, { ...times, status: 'failed' }),
  ]
  await insertDelivery(sql, workspaceId, { ...times, status: 'exhausted' })
  expect(await emptyPayloads()).toEqual([1])
  expect(await idsWith('deliveries', 'envelope is not null')).toEqual(waiting)
  await sql`update deliveries set status = 'delivered', due_at = null where id = ${waiting[0] ?? ''}`
  expect(await emptyPayloads()).toEqual([1])
  expect(await idsWith('deliveries', 'envelope is not null')).toEqual(waiting.slice(1))
})

it('takes more rows than go at once, of several workspaces, past those that have no payload', async () => {
  await sql`insert into exchanges (workspace_id, id, created_at, waba_id, answer)
    select 'ws_' || i % 3, overlay(gen_random_uuid()::text placing ${firstPartOf(at(-9))} from 1 for 13)::uuid, now(), '1',
      case when i % 3 <> 1 then 'a'::bytea end
    from generate_series(1, 18000) i`
  expect(await emptyPayloads()).toEqual([12_000])
  expect(await idsWith('exchanges', 'answer is not null')).toEqual([])
})

it('goes on past a day that fails', async () => {
  const ids = [
    await insertExchange(sql, workspaceId, { at: at(-9) }),
    await insertExchange(sql, workspaceId, { at: at(-8) }),
  ]
  const first = `exchanges_${nameOfDay(at(-9).getTime())}`
  await sql`alter table ${sql(first)} add constraint full_for_ever check (answer is not null)`
  await expect(emptyPayloads()).rejects.toMatchObject({ sqlState: '23514' })
  expect(await idsWith('exchanges', 'answer is not null')).toEqual(ids.slice(0, 1))
})

it('does not look again into days that are done; a restart knows them too', async () => {
  await insertExchange(sql, workspaceId, { at: at(-9) })
  await emptyPayloads()
  // The days 10, 9 and 8 days ago, of three tables; half of the day 7 days ago is to come.
  expect(await notes()).toBe(9)
  // Written past all that notices: it is not seen, because nobody looks.
  await sql`update exchanges set answer = 'x'`
  expect(await emptyPayloads()).toEqual([])
  await emptyPayloads(1)
  expect(await notes()).toBe(12)
})

it('looks once at the rows of a day, as they grow old, and at all of them again when it is over', async () => {
  const ids: string[] = []
  for (const hours of [-1, 0, 1]) ids.push(await insertExchange(sql, workspaceId, { at: at(-7 + hours / 24) }))
  const empty = emptier()
  expect(await empty()).toEqual([1])
  // Written past all that notices, as a row out of a spool may be.
  await sql`update exchanges set answer = 'x' where id = ${ids[0] ?? ''}`
  expect(await empty(1 / 24)).toEqual([1])
  expect(await idsWith('exchanges', 'answer is not null')).toEqual([ids[0], ids[2]])
  // Another process looks at all of them, and so does this one when there are no more to come.
  expect(await emptyPayloads(1 / 24)).toEqual([1])
  await sql`update exchanges set answer = 'x' where id = ${ids[0] ?? ''}`
  expect(await empty(1)).toEqual([2])
  expect(await idsWith('exchanges', 'answer is not null')).toEqual([])
  expect(await notes()).toBe(12)
})

it('rows that come late out of a spool are emptied all the same', async () => {
  await emptyPayloads()
  const id = `${firstPartOf(at(-9))}-7000-8000-000000000001`
  const opened: OpenedExchange = {
    ...{ workspaceId, id, createdAt: at(-9), wabaId: '1', event: 'whatsapp.flows.init', action: 'init' },
    ...{ screen: null, flowToken: null, flowId: null, clientId: null, webhookId: null, flowResponse: null },
    envelope: Buffer.from('{}'),
  }
  await replayExchanges(sql, { opened: [opened], closed: [], deliveries: [] }, async () => {})
  expect(await idsWith('exchanges', 'envelope is not null')).toEqual([id])
  expect(await emptyPayloads()).toEqual([1])
  expect(await idsWith('exchanges', 'envelope is not null')).toEqual([])
  expect(await notes()).toBe(9)
})

it('a log that is kept shorter than its payloads has none to empty', async () => {
  const id = await insertExchange(sql, workspaceId, { at: at(-9) })
  expect(await emptyPayloads(0, 3, 30)).toEqual([])
  expect(await idsWith('exchanges', 'envelope is not null')).toEqual([id])
})

function firstPartOf(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}
