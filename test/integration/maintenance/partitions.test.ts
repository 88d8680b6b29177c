import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { dayMs, dayOf, nameOfDay } from '../../../src/domain/day.ts'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { createJobs } from '../../../src/maintenance/jobs.ts'
import { createLog } from '../../../src/ops/logger.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import {
  listPartitions,
  locksOfDay,
  makePartition,
  makePartitionsAhead,
  partitionedTables,
} from '../../../src/storage/partitions.ts'
import { waitForLocks } from '../../support/locks.ts'
import { insertAttempt, insertDelivery, insertExchange } from '../../support/log-rows.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'

let opened: OpenedDatabase
let database: Database
let sql: postgres.Sql
const workspaceId = newWorkspaceId()
const today = dayOf(Date.now())
const at = (days: number) => new Date(today + days * dayMs + dayMs / 2)

beforeEach(async () => {
  opened = await openTestDatabase()
  ;({ database, sql } = opened)
})
afterEach(async () => {
  await opened.close()
})

const namesOf = async (table: string) =>
  (await listPartitions(sql)).filter((partition) => partition.table === table).map(({ name }) => name)
const named = (table: string, ...days: number[]) => days.map((day) => `${table}_${nameOfDay(today + day * dayMs)}`)
/** Reads a table and goes on with it for as long as `work` lasts: nobody can have it whole meanwhile. */
const whileRead = (table: string, work: () => Promise<unknown>) =>
  sql.begin(async (tx) => {
    await tx`select from ${tx(table)} limit 1`
    await work()
  })
/** 10,001 exchanges at noon of a day so far from now. */
async function insertMany(days: number): Promise<void> {
  const firstPart = at(days).getTime().toString(16).padStart(12, '0').replace(/^.{8}/, '$&-')
  await sql`insert into exchanges (workspace_id, id, created_at, waba_id)
    select ${workspaceId}, overlay(gen_random_uuid()::text placing ${firstPart} from 1 for 13)::uuid, now(), '1'
    from generate_series(1, 10001)`
}
const countOf = async (table: string) => (await sql`select count(*)::int as n from ${sql(table)}`)[0]?.n

/** Runs one job once, as on a day so far from now; the database's clock says the same unless it has its own. */
async function run(name: string, days = 0, clocks: 'agree' | 'differ' = 'agree', logDays = 30) {
  const lines: Record<string, unknown>[] = []
  const gauge: Record<string, number> = {}
  const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  const metrics = {
    defaultPartitionRows: (table: string, rows: number) => void Object.assign(gauge, { [table]: rows }),
    queueMeasured: (depth: number, ageSeconds: number) => void Object.assign(gauge, { depth, ageSeconds }),
  }
  const now = () => at(days)
  const agreeing = clocks === 'agree' ? { databaseNow: async () => at(days) } : {}
  const jobs = createJobs({ database, log, metrics, payloadDays: 7, logDays, now, ...agreeing })
  const job = jobs.find((candidate) => candidate.name === name)
  if (job === undefined) throw new Error(`no job is named ${name}`)
  await job.run(new AbortController().signal)
  return { lines, gauge }
}

/** Those that change partitions take turns. */
const turn = (tx: postgres.ISql) => tx`select pg_advisory_xact_lock(${0x72_6c_76_70})`

describe('partitions', () => {
  it('are made ahead, from today to in three days, with all that their table has', async () => {
    await run('make_partitions', 5)
    for (const table of ['exchanges', 'deliveries', 'attempts']) {
      expect(await namesOf(table)).toEqual(named(table, 0, 1, 2, 5, 6, 7, 8))
    }
    await insertExchange(sql, workspaceId, { at: at(5) })
    const [row] = await sql`select tableoid::regclass::text as partition from exchanges`
    expect(row?.partition).toBe(named('exchanges', 5)[0])
    const indexes = (name: string | undefined) => sql`select indexdef from pg_indexes where tablename = ${name ?? ''}`
    expect(await indexes(named('exchanges', 5)[0])).toHaveLength((await indexes(named('exchanges', 0)[0])).length)
    // A row that is there already is refused by the new partition's key too.
    await expect(sql`insert into exchanges select * from exchanges`).rejects.toMatchObject({ code: '23505' })
  })

  it('have as many tables and indexes as are reckoned with for locks', async () => {
    const rows = await sql`
      select c.relname from pg_class c left join pg_index i on i.indexrelid = c.oid
      where coalesce(i.indrelid, c.oid) = any(${partitionedTables.flatMap((table) => named(table, 1))}::regclass[])`
    expect(rows).toHaveLength(locksOfDay)
  })

  it('are analysed without what no row is looked for by', async () => {
    await run('make_partitions', 5)
    await insertExchange(sql, workspaceId, { at: at(5) })
    await insertDelivery(sql, workspaceId, { at: at(5) })
    for (const table of ['exchanges', 'deliveries']) {
      const [name = ''] = named(table, 5)
      await sql`analyze ${sql(name)}`
      const rows = await sql`select attname from pg_stats where tablename = ${name}`
      const analysed = rows.map(({ attname }) => attname)
      expect(analysed).toEqual(expect.arrayContaining(['workspace_id', 'id', 'client_id', 'envelope']))
      expect(analysed.filter((column) => ['timings', 'attempt', 'reason', 'attempts'].includes(column))).toEqual([])
    }
  })

  it('are made ahead where no rows wait for them: to move those is another job’s', async () => {
    await insertExchange(sql, workspaceId, { at: at(5) })
    await run('make_partitions', 5)
    expect(await namesOf('exchanges')).toEqual(named('exchanges', 0, 1, 2, 6, 7, 8))
    expect(await namesOf('attempts')).toEqual(named('attempts', 0, 1, 2, 5, 6, 7, 8))
    expect(await countOf('exchanges_default')).toBe(1)
  })

  it('wait for another’s turn no longer than a second', async () => {
    await sql.begin(async (tx) => {
      await turn(tx)
      await expect(makePartition(database.work, 'exchanges', today + 9 * dayMs)).rejects.toMatchObject({
        sqlState: '55P03',
      })
    })
  })

  it('are made of other tables where one cannot be had', async () => {
    await whileRead('exchanges_default', () =>
      expect(run('make_partitions', 5)).rejects.toMatchObject({ sqlState: '55P03' }),
    )
    expect(await namesOf('exchanges')).toEqual(named('exchanges', 0, 1, 2))
    for (const table of ['deliveries', 'attempts']) {
      expect(await namesOf(table)).toEqual(named(table, 0, 1, 2, 5, 6, 7, 8))
    }
  })

  it('are made by many at once, and none fails', async () => {
    const makers = Array.from({ length: 4 }, () => postgres(opened.made.url, { max: 1 }))
    await Promise.all(makers.map((maker) => makePartitionsAhead(maker, at(10), 3)))
    await Promise.all(makers.map((maker) => maker.end()))
    expect(await namesOf('attempts')).toEqual(named('attempts', 0, 1, 2, 10, 11, 12, 13))
  })

  it('wait for no lock longer than 100 ms, and hold nobody up longer', async () => {
    const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const reading = sql.begin(async (tx) => {
      // Reads the default partition too, and goes on with it for long.
      await tx`select count(*) from exchanges`
      begun.resolve()
      await over.promise
    })
    await begun.promise
    const startedAt = performance.now()
    const making = makePartition(database.work, 'exchanges', today + 9 * dayMs)
    await expect(making.finally(() => insertExchange(sql, workspaceId))).rejects.toMatchObject({ sqlState: '55P03' })
    expect(performance.now() - startedAt).toBeLessThan(2000)
    over.resolve()
    await reading
    await makePartition(database.work, 'exchanges', today + 9 * dayMs)
    expect(await namesOf('exchanges')).toContain(named('exchanges', 9)[0])
  })
})

describe('rows in the default partition', () => {
  it('are told of, and moved into the partition of their day', async () => {
    expect((await run('default_partitions')).gauge).toEqual({ exchanges: 0, deliveries: 0, attempts: 0 })
    const ids = [
      await insertExchange(sql, workspaceId, { at: at(-3) }),
      await insertExchange(sql, workspaceId, { at: at(-3) }),
      await insertExchange(sql, workspaceId, { at: at(5) }),
    ]
    expect(await countOf('exchanges_default')).toBe(3)
    const { lines, gauge } = await run('default_partitions')
    expect(gauge).toEqual({ exchanges: 3, deliveries: 0, attempts: 0 })
    expect(lines).toMatchObject([{ level: 'error', table: 'exchanges', rows: 3, days: 2 }])
    expect(await countOf('exchanges_default')).toBe(0)
    expect(await countOf(named('exchanges', -3)[0] ?? '')).toBe(2)
    expect((await sql`select id from exchanges order by id`).map(({ id }) => id)).toEqual(ids)
    expect(await run('default_partitions')).toMatchObject({ gauge: { exchanges: 0 }, lines: [] })
  })

  it('are counted up to 10,000, and stay where they are if there are more: their partition becomes that of their days', async () => {
    await insertMany(5)
    const ids = [
      await insertExchange(sql, workspaceId, { at: at(6) }),
      await insertExchange(sql, workspaceId, { at: at(-3) }),
    ]
    const [before] = await sql`select 'exchanges_default'::regclass::oid as oid`
    const { lines, gauge } = await run('default_partitions')
    expect(gauge).toMatchObject({ exchanges: 10_000 })
    expect(lines).toMatchObject([{ rows: 10_000 }])
    const [name = ''] = named('exchanges', 5)
    expect(await namesOf('exchanges')).toEqual([...named('exchanges', -3, 0, 1, 2), name])
    expect(await sql`select ${name}::text::regclass::oid as oid`).toEqual([before])
    expect([await countOf(name), await countOf('exchanges_default')]).toEqual([10_002, 0])
    // The day after the last is theirs too, later ones are not, and none is refused.
    for (const days of [7, 8]) ids.push(await insertExchange(sql, workspaceId, { at: at(days) }))
    expect([await countOf(name), await countOf('exchanges_default')]).toEqual([10_003, 1])
    expect(await sql`select from exchanges where id = any(${ids}::text[]::uuid[])`).toHaveLength(4)
    await run('make_partitions', 6)
    expect(await namesOf('exchanges')).toEqual([...named('exchanges', -3, 0, 1, 2), name, ...named('exchanges', 9)])
  })

  it('stay where they are too if to move them would hold the table for more than a second', async () => {
    for (const time of [at(5), at(5)]) await insertExchange(sql, workspaceId, { at: time })
    await sql`alter table exchanges add constraint slow check (pg_sleep(0.6) is not null) not valid`
    const [before] = await sql`select 'exchanges_default'::regclass::oid as oid`
    await run('default_partitions')
    const [name = ''] = named('exchanges', 5)
    expect(await sql`select ${name}::text::regclass::oid as oid`).toEqual([before])
    expect([await countOf(name), await countOf('exchanges_default')]).toEqual([2, 0])
  })

  it('refuse none for long where a process died while it looked at them', async () => {
    await sql`alter table exchanges_default add constraint default_bounds check (false) not valid`
    await expect(insertExchange(sql, workspaceId, { at: at(5) })).rejects.toMatchObject({
      constraint_name: 'default_bounds',
    })
    await run('default_partitions')
    await insertExchange(sql, workspaceId, { at: at(5) })
  })
})

describe('what takes minutes', () => {
  it('is done to the end though pools are renewed meanwhile', async () => {
    let moving: Promise<unknown> = Promise.resolve()
    await sql.begin(async (tx) => {
      await turn(tx)
      moving = database.onOwnConnection((own) => own.begin(turn))
      const inPool = turn(database.work).catch(({ code }) => code)
      await waitForLocks(sql, 2)
      const muchLater = performance.now() + 60_000
      const clock = vi.spyOn(performance, 'now').mockReturnValue(muchLater)
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
      database.renew()
      clock.mockRestore()
      // Pools that are renewed have a minute to finish what is under way.
      await vi.advanceTimersByTimeAsync(60_000)
      vi.useRealTimers()
      expect(await inPool).toBe('CONNECTION_DESTROYED')
    })
    expect(await moving).toHaveLength(1)
  })

  it('holds up no end of the process', async () => {
    const ended = openDatabase(opened.made.settings)
    let moving: Promise<unknown> = Promise.resolve()
    await sql.begin(async (tx) => {
      await turn(tx)
      moving = ended.onOwnConnection((own) => own.begin(turn))
      moving.catch(() => undefined)
      await waitForLocks(sql, 1)
      await ended.close()
    })
    await expect(moving).rejects.toMatchObject({ code: expect.stringMatching(/^CONNECTION_/) })
  })
})

describe('rows in a default partition that cannot be had', () => {
  it('hold up no other table', async () => {
    await insertExchange(sql, workspaceId, { at: at(5) })
    await insertAttempt(sql, workspaceId, { at: at(5), deliveryId: newUuid() })
    await whileRead('exchanges_default', () =>
      expect(run('default_partitions')).rejects.toMatchObject({ sqlState: '55P03' }),
    )
    expect([await countOf('exchanges_default'), await countOf('attempts_default')]).toEqual([1, 0])
  })
})

describe('old partitions', () => {
  it('hold up no other where one cannot be had, and keep the attempts of its day and later', async () => {
    for (const table of partitionedTables) {
      for (const days of [-35, -34, -33]) await makePartition(database.work, table, today + days * dayMs)
    }
    await whileRead(named('deliveries', -34)[0] ?? '', () =>
      expect(run('drop_partitions')).rejects.toMatchObject({ sqlState: '55P03' }),
    )
    expect(await namesOf('deliveries')).toEqual(named('deliveries', -34, 0, 1, 2))
    expect(await namesOf('attempts')).toEqual(named('attempts', -34, -33, 0, 1, 2))
    expect(await namesOf('exchanges')).toEqual(named('exchanges', 0, 1, 2))
  })

  it('are dropped once their youngest row can be older than the log is kept, no sooner', async () => {
    for (const days of [-32, -31, -30, -29]) await makePartition(database.work, 'exchanges', today + days * dayMs)
    await insertExchange(sql, workspaceId, { at: at(-31) })
    const keptId = await insertExchange(sql, workspaceId, { at: at(-30) })
    // At noon: the day 31 days ago ended 30.5 days ago, the one after it 29.5.
    await run('drop_partitions')
    expect(await namesOf('exchanges')).toEqual(named('exchanges', -30, -29, 0, 1, 2))
    expect((await sql`select id from exchanges`).map(({ id }) => id)).toEqual([keptId])
    await run('drop_partitions', 1)
    expect(await namesOf('exchanges')).toEqual(named('exchanges', -29, 0, 1, 2))
  })

  it('stay while a delivery waits in them, with the attempts of that day and later', async () => {
    for (const table of ['deliveries', 'attempts'] as const) {
      for (const days of [-35, -34, -33]) await makePartition(database.work, table, today + days * dayMs)
    }
    const deliveryId = await insertDelivery(sql, workspaceId, { at: at(-34), status: 'failed' })
    await insertAttempt(sql, workspaceId, { at: at(-33), deliveryId })
    await insertDelivery(sql, workspaceId, { at: at(-33) })
    await run('drop_partitions')
    expect(await namesOf('deliveries')).toEqual(named('deliveries', -34, 0, 1, 2))
    expect(await namesOf('attempts')).toEqual(named('attempts', -34, -33, 0, 1, 2))
    await sql`update deliveries set status = 'exhausted', due_at = null`
    await run('drop_partitions')
    expect(await namesOf('deliveries')).toEqual(named('deliveries', 0, 1, 2))
    expect(await namesOf('attempts')).toEqual(named('attempts', 0, 1, 2))
  })
})

it('rows of what Meta told and of who was expunged go by age', async () => {
  for (const days of [-31, -29, -9, -7]) {
    await sql`insert into meta_events values (${workspaceId}, ${Buffer.from(String(days))}, ${at(days)})`
    await sql`insert into expunges values (${workspaceId}, ${Buffer.from(String(days))}, 'client', ${at(days)})`
  }
  await run('delete_old_rows')
  expect([await countOf('meta_events'), await countOf('expunges')]).toEqual([1, 3])
})

it('old rows of a table go although another’s cannot', async () => {
  await sql`insert into meta_events values (${workspaceId}, 'd', ${at(-9)})`
  await sql`insert into expunges values (${workspaceId}, 'd', 'client', ${at(-31)})`
  await sql`create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'`
  await sql`create trigger refuse before delete on meta_events for each row execute function refuse()`
  try {
    await expect(run('delete_old_rows')).rejects.toMatchObject({ sqlState: 'P0001' })
  } finally {
    await sql`drop trigger refuse on meta_events`
    await sql`drop function refuse`
  }
  expect([await countOf('meta_events'), await countOf('expunges')]).toEqual([1, 0])
})

it('statistics stay as long as the log, and in any case until a webhook that answers exchanges cannot be taken for dead', async () => {
  const insertStats = (days: number) => sql`
    insert into exchange_stats values (${workspaceId}, 5, ${at(days)}, '', 'wh_1', 'replied', 1, 0, '{}', '{}', '{}', '{}')`
  for (const days of [-31, -29, -7, -5]) await insertStats(days)
  const left = async () => (await sql`select starts_at from exchange_stats order by 1`).map((row) => row.starts_at)
  await run('delete_old_rows')
  expect(await left()).toEqual([-29, -7, -5].map(at))
  await run('delete_old_rows', 0, 'agree', 1)
  expect(await left()).toEqual([at(-5)])
})

it('nothing that is not old yet is taken by a process whose clock leapt ahead', async () => {
  await insertExchange(sql, workspaceId)
  await insertExchange(sql, workspaceId, { at: at(-1) })
  await sql`insert into meta_events values (${workspaceId}, 'd', now())`
  await sql`insert into expunges values (${workspaceId}, 'd', 'client', now())`
  await sql`insert into webhook_breakers (workspace_id, webhook_id, process, state, since, seen_at)
    values (${workspaceId}, 'wh_1', ${newUuid()}, 'open', now(), now())`
  await sql`insert into exchange_stats values (${workspaceId}, 5, now(), '', '', 'replied', 1, 0, '{}', '{}', '{}', '{}')`
  await sql`insert into flow_responses (workspace_id, id, flow_token, flow_token_digest, status, expires_at)
    values (${workspaceId}, 'fr_1', 't', 'd', 'SENT', now() + interval '1 day')`
  const tables = ['exchanges', 'meta_events', 'expunges', 'webhook_breakers', 'exchange_stats', 'flow_responses']
  const all = () => Promise.all(tables.map((table) => sql`select * from ${sql(table)} order by 1, 2`))
  await run('default_partitions')
  const before = await all()
  const partitions = await listPartitions(sql)
  for (const name of ['expire_flow_responses', 'empty_payloads', 'delete_old_rows', 'drop_partitions']) {
    await run(name, 40, 'differ')
    expect(await all(), name).toEqual(before)
  }
  expect(await listPartitions(sql)).toEqual(partitions)
})

it('rows of people who were expunged are looked for by a process whose clock leapt ahead too', async () => {
  await sql`insert into expunges values (${workspaceId}, sha256('t'), 'flow_token', now())`
  await insertExchange(sql, workspaceId, { at: new Date(), flowToken: 't' })
  expect((await run('expunge_again', 40, 'differ')).lines).toMatchObject([{ rows: 1 }])
})
