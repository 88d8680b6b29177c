import postgres from 'postgres'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { dayMs, dayOf, nameOfDay } from '../../../src/domain/day.ts'
import { createJobs } from '../../../src/maintenance/jobs.ts'
import { migrate } from '../../../src/migrate.ts'
import { createLog } from '../../../src/ops/logger.ts'
import { openDatabase } from '../../../src/storage/database.ts'
import { listPartitions } from '../../../src/storage/partitions.ts'
import { createEmptyDatabase, type TestDatabase } from '../../support/database.ts'
import { migrateTo } from '../../support/earlier-schema.ts'
import { insertExchange } from '../../support/log-rows.ts'

const workspaceId = 'ws_1'

let made: TestDatabase
let sql: postgres.Sql

beforeEach(async () => {
  made = await createEmptyDatabase()
  sql = postgres(made.url, { max: 1, onnotice: () => undefined })
  await migrateTo(made.url, '0002_durable_rows')
})
afterEach(async () => {
  await sql.end()
  await made.drop()
})

const at = (days: number) => new Date(dayOf(Date.now()) + days * dayMs + dayMs / 2)
const named = (...days: number[]) => days.map((day) => `exchanges_${nameOfDay(at(day).getTime())}`)
const partitions = async () =>
  (await listPartitions(sql)).filter(({ table }) => table === 'exchanges').map(({ name }) => name)

async function run(name: string, days: number): Promise<void> {
  const database = openDatabase({ url: made.url, prepare: true })
  const metrics = { defaultPartitionRows: () => undefined, queueMeasured: () => undefined }
  const clocks = { now: () => at(days), databaseNow: async () => at(days) }
  const parts = { database, log: createLog('silent'), metrics, payloadDays: 7, logDays: 30, ...clocks }
  await createJobs(parts)
    .find((job) => job.name === name)
    ?.run(new AbortController().signal)
  await database.close()
}

it('rows of before the days stay as they are, in a partition of their own, and grow old like others', async () => {
  const ids = [
    await insertExchange(sql, workspaceId, { at: at(-40), flowToken: 'old' }),
    await insertExchange(sql, workspaceId, { at: at(0), clientId: 'c' }),
  ]
  const before = await sql`select * from exchanges order by id`
  await migrate(made.url)
  expect(await sql`select * from exchanges order by id`).toEqual(before.map((row) => ({ ...row, late_reply_ms: null })))
  expect(await partitions()).toEqual(['exchanges_before', ...named(1, 2)])

  // What comes today still goes there; an insert is refused twice as before.
  const today = await insertExchange(sql, workspaceId, { at: new Date(at(0).getTime() + 3_600_000) })
  const tomorrow = await insertExchange(sql, workspaceId, { at: at(1) })
  await expect(insertExchange(sql, workspaceId, { id: ids[0] ?? '' })).rejects.toMatchObject({ code: '23505' })
  const places =
    await sql`select id, tableoid::regclass::text as place from exchanges where id in ${sql([today, tomorrow])} order by id`
  expect(Object.fromEntries(places.map(({ id, place }) => [id, place]))).toMatchObject({
    [today]: 'exchanges_before',
    [tomorrow]: named(1)[0],
  })

  await run('make_partitions', 0)
  expect(await partitions()).toEqual(['exchanges_before', ...named(1, 2, 3)])
  await run('empty_payloads', 7)
  const emptied = await sql`select id from exchanges where envelope is null order by id`
  expect(emptied.map(({ id }) => id)).toEqual(ids.slice(0, 1))
  // Its youngest row is of the end of the day on which it was migrated.
  await run('drop_partitions', 30)
  expect(await partitions()).toContain('exchanges_before')
  await run('drop_partitions', 31)
  expect(await partitions()).toEqual(named(1, 2, 3))
})

it('a table without rows leaves nothing behind', async () => {
  await migrate(made.url)
  expect(await partitions()).toEqual(named(0, 1, 2))
  expect(await sql`select to_regclass('exchanges_before') as left`).toEqual([{ left: null }])
})
