import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dayMs } from '../../../src/domain/day.ts'
import { newWorkspaceId } from '../../../src/domain/ids.ts'
import { migrate } from '../../../src/migrate.ts'
import { distributedTables, unfitFor } from '../../../src/storage/citus/distribution.ts'
import { emptyDefault } from '../../../src/storage/default-partition.ts'
import { defaultRows, listPartitions, makePartition, makePartitionsAhead } from '../../../src/storage/partitions.ts'
import { citusCalls, installCitusStandIn } from '../../support/citus-stand-in.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { insertExchange } from '../../support/log-rows.ts'

let made: TestDatabase
let sql: postgres.Sql

async function use(database: TestDatabase): Promise<void> {
  made = database
  sql = postgres(made.url, { max: 1, onnotice: () => undefined })
}
afterEach(async () => {
  await sql.end()
  await made.drop()
})

const expectedCalls = [
  'create_reference_table(workspaces)',
  'create_reference_table(waba_directory)',
  ...distributedTables.map(
    (name) =>
      `create_distributed_table(${name}, workspace_id, colocate_with => ${name === 'wabas' ? 'none' : 'wabas'})`,
  ),
]
const foreignKeys = (client: postgres.Sql) => client`
  select conrelid::regclass::text as from, conname, pg_get_constraintdef(oid) as says
  from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace order by 1, 2`
const tablesBesides = () => sql`
  select c.oid::regclass::text as name from pg_class c
  where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema', 'citus_stand_in')
    and c.oid not in (select logicalrelid from pg_dist_partition) and not exists (select from pg_inherits where inhrelid = c.oid)
  order by 1`

describe('an empty database', () => {
  beforeEach(async () => {
    await use(await createEmptyDatabase())
    await installCitusStandIn(made.url)
  })

  it('is distributed by workspace, all tables alike; a second migrate does nothing', async () => {
    await migrate(made.url, 'citus')
    expect(await citusCalls(sql)).toEqual(expectedCalls)
    const [groups] = await sql`
      select count(distinct colocationid)::int as groups, array_agg(distinct partkey) as keys from pg_dist_partition where partmethod = 'h'`
    expect(groups).toEqual({ groups: 1, keys: ['workspace_id'] })
    expect((await tablesBesides()).map(({ name }) => name)).toEqual([
      'drizzle.__drizzle_migrations',
      'exchange_stats_frontier',
      'leases',
      ...(await tablesBesides()).map(({ name }) => name).filter((name) => name.startsWith('relevo_queue.')),
    ])
    expect(await unfitFor(sql, 'citus')).toBeNull()
    expect(await unfitFor(sql, 'postgres')).toBe('the tables are distributed: set DATABASE_BACKEND=citus')
    await migrate(made.url, 'citus')
    expect(await citusCalls(sql)).toEqual(expectedCalls)

    // A table that a later migration brings joins the others.
    await sql`create table brought (like flow_keys including all)`
    await sql`drop table flow_keys`
    await sql`alter table brought rename to flow_keys`
    await migrate(made.url, 'citus')
    const late = expectedCalls.filter((call) => call.includes('(flow_keys,'))
    expect(await citusCalls(sql)).toEqual([...expectedCalls, ...late])
    const keys = await foreignKeys(sql)
    expect(keys.filter(({ from }) => from === 'flow_keys')).toHaveLength(1)
  })

  it('has the foreign keys that PostgreSQL has', async () => {
    await migrate(made.url, 'citus')
    const plain = await createTestDatabase()
    const other = postgres(plain.url, { max: 1 })
    expect(await foreignKeys(sql)).toEqual(await foreignKeys(other))
    await other.end()
    await plain.drop()
  })

  it('gets its partitions distributed, those that come later and those whose rows came before them', async () => {
    await migrate(made.url, 'citus')
    const later = Date.now() + 10 * dayMs
    const day = later - (later % dayMs)
    const workspaceId = newWorkspaceId()
    await insertExchange(sql, workspaceId, { at: new Date(later) })
    expect(await defaultRows(sql, 'exchanges')).toEqual([{ day, rows: 1 }])
    expect(await makePartition(sql, 'exchanges', day)).toBe(1)
    expect(await defaultRows(sql, 'exchanges')).toEqual([])
    expect(await sql`select workspace_id from exchanges`).toEqual([{ workspace_id: workspaceId }])
    await makePartitionsAhead(sql, new Date(), 4)
    // As where there are many: it becomes a day's itself.
    await insertExchange(sql, workspaceId, { at: new Date(later + dayMs) })
    const signal = new AbortController().signal
    await emptyDefault(sql, 'exchanges', [{ day: day + dayMs, rows: 10_000 }], new Date(), signal)
    expect(await defaultRows(sql, 'exchanges')).toEqual([])
    const distributed = await sql`select logicalrelid::text as name from pg_dist_partition`
    const names = new Set(distributed.map(({ name }) => name))
    expect(names).toContain('exchanges_default')
    const partitions = await listPartitions(sql)
    expect(partitions.length).toBeGreaterThan(12)
    expect(partitions.filter(({ name }) => !names.has(name))).toEqual([])
  })
})

describe('a database that has rows', () => {
  beforeEach(async () => {
    await use(await createTestDatabase())
    await installCitusStandIn(made.url)
    await sql`insert into workspaces (id, name) values ('ws_1', 'One')`
    await sql`insert into clients (workspace_id, id, phone_number) values ('ws_1', 'cl_1', '+15550100001')`
    await insertExchange(sql, 'ws_1')
  })

  it('is distributed with them, and what stays behind is removed', async () => {
    expect(await unfitFor(sql, 'citus')).toMatch(/^\d+ table\(s\) are not distributed: run npm run migrate$/)
    await migrate(made.url, 'citus')
    const calls = await citusCalls(sql)
    expect(calls.filter((call) => call.startsWith('create_'))).toEqual(expectedCalls)
    expect(calls.filter((call) => call.startsWith('truncate_'))).toEqual(
      ['workspaces', 'clients', 'exchanges'].map((name) => `truncate_local_data_after_distributing_table(${name})`),
    )
    expect(await foreignKeys(sql)).toHaveLength(11)
    await expect(
      sql`insert into clients (workspace_id, id, phone_number) values ('ws_none', 'cl_2', '+15550100002')`,
    ).rejects.toMatchObject({ code: '23503' })
  })

  it('goes on where it was interrupted', async () => {
    await sql.unsafe(`
      create function citus_stand_in.interrupt() returns trigger language plpgsql as $$
      begin raise exception 'interrupted'; end $$;
      create trigger interrupt before insert on citus_stand_in.pg_dist_partition for each row
        when (new.logicalrelid = 'public.flow_keys'::regclass) execute function citus_stand_in.interrupt()`)
    await expect(migrate(made.url, 'citus')).rejects.toMatchObject({ operation: 'migrate' })
    const before = (await citusCalls(sql)).filter((call) => call.startsWith('create_'))
    const interrupted = expectedCalls.findIndex((call) => call.includes('flow_keys'))
    expect(before).toEqual(expectedCalls.slice(0, interrupted))
    await sql.unsafe('drop trigger interrupt on citus_stand_in.pg_dist_partition')
    await migrate(made.url, 'citus')
    expect((await citusCalls(sql)).filter((call) => call.startsWith('create_'))).toEqual(expectedCalls)
    expect(await foreignKeys(sql)).toHaveLength(11)
  })

  it('is refused where somebody distributed a table otherwise', async () => {
    await sql`select create_distributed_table('exchanges', 'id')`
    await expect(migrate(made.url, 'citus')).rejects.toThrow(
      'exchanges is distributed otherwise: it must lie with wabas, by workspace_id',
    )
  })
})

it('without Citus nothing is distributed', async () => {
  await use(await createTestDatabase())
  await expect(migrate(made.url, 'citus')).rejects.toThrow(/the database has no Citus/)
})

describe('the stand-in refuses, as Citus does,', () => {
  beforeEach(async () => {
    await use(await createEmptyDatabase())
    await installCitusStandIn(made.url)
    await sql`create table a (workspace_id text not null, id text not null, primary key (workspace_id, id))`
    await sql`create table r (id text primary key)`
  })
  const distribute = (name: string) => sql`select create_distributed_table(${name}, 'workspace_id')`
  const refused = (message: RegExp) =>
    expect.objectContaining({ code: '0A000', message: expect.stringMatching(message) })

  it('what is distributed already, and keys without the column', async () => {
    await distribute('a')
    await expect(distribute('a')).rejects.toEqual(refused(/already distributed/))
    await sql`create table b (workspace_id text not null, id text primary key)`
    await expect(distribute('b')).rejects.toEqual(refused(/does not include the partition column/))
    await expect(sql`create unique index on a (id)`).rejects.toEqual(refused(/does not include the partition column/))
  })

  it('foreign keys to and from what lies elsewhere', async () => {
    await sql`create table b (workspace_id text not null, id text not null references r (id), primary key (workspace_id, id),
      foreign key (workspace_id, id) references a (workspace_id, id))`
    await expect(distribute('a')).rejects.toEqual(refused(/referred to by a local table/))
    await expect(sql`select create_reference_table('r')`).rejects.toEqual(refused(/referred to by a local table/))
    await expect(distribute('b')).rejects.toEqual(refused(/must be a distributed table or a reference table/))
    await sql`drop table b`
    await distribute('a')
    await expect(
      sql`create table c (workspace_id text, id text, foreign key (workspace_id, id) references a (workspace_id, id))`,
    ).rejects.toEqual(refused(/from local tables to distributed tables/))
  })
})
