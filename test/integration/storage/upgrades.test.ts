import postgres from 'postgres'
import { afterEach, describe, expect, it } from 'vitest'
import { newUuid } from '../../../src/domain/ids.ts'
import { migrateTables } from '../../../src/storage/migrate.ts'
import { describePlan, describeStatus, readMigrationState } from '../../../src/storage/migration-report.ts'
import { knownMigrations } from '../../../src/storage/migrations.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { migrateTo } from '../../support/earlier-schema.ts'
import { eventually } from '../../support/eventually.ts'

const names = knownMigrations().map(({ name }) => name)
const newest = names.at(-1) ?? ''

let made: TestDatabase
let sql: postgres.Sql

async function use(database: TestDatabase): Promise<void> {
  made = database
  sql = postgres(made.url, { max: 2, onnotice: () => undefined })
}
afterEach(async () => {
  await sql.end()
  await made.drop()
})

describe('a database of each earlier schema is brought to the newest with its rows', () => {
  it.each(names.slice(0, -1))('%s', async (last) => {
    await use(await createEmptyDatabase())
    await migrateTo(made.url, last)
    const tables = await fillTables()
    const before = await rowsOf(tables)
    expect(Object.values(before).every((rows) => rows.length > 0)).toBe(true)
    await migrateTables(made.url)
    const after = await rowsOf(tables)
    for (const table of tables) {
      // Columns that came since are more; none is less, and no value another.
      const expected = (before[table] ?? []).map((row) => expect.objectContaining(row))
      expect(after[table], table).toEqual(expected)
    }
    expect(describeStatus(await readMigrationState(sql, 'postgres')).at(-1)).toBe(`${names.length} applied, 0 pending`)
  })
})

/** Puts one row into every table that has none, with something in each column. Parents first: their ids are what children name. */
async function fillTables(): Promise<string[]> {
  const columns = await sql<{ table: string; column: string; type: string }[]>`
    select c.relname as table, a.attname as column, format_type(a.atttypid, null) as type
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    order by c.relname, a.attnum`
  const byTable = Map.groupBy(columns, ({ table }) => table)
  const parents = ['workspaces', 'wabas', 'clients', 'webhooks']
  const tables = [...byTable.keys()].sort((a, b) => Number(parents.includes(b)) - Number(parents.includes(a)))
  tables.sort((a, b) => Number(b === 'workspaces') - Number(a === 'workspaces'))
  for (const table of tables) {
    const [found] = await sql`select 1 from ${sql(table)} limit 1`
    if (found !== undefined) continue
    const values = (byTable.get(table) ?? []).map(({ column, type }) => literalOf(table, column, type))
    await sql.unsafe(`insert into ${table} values (${values.join(', ')})`)
  }
  return tables
}

const id = newUuid()

function literalOf(table: string, column: string, type: string): string {
  if (table === 'workspaces' && column === 'id') return `'workspace'`
  const owned = /^(workspace|waba|client|webhook)_id$/.exec(column)?.[1]
  const samples: Record<string, string> = {
    text: `'${owned ?? (column === 'id' ? table.replace(/s$/, '') : column)}'`,
    uuid: `'${id}'`,
    bytea: `'\\x00ff'`,
    boolean: 'true',
    smallint: '5',
    integer: '7',
    bigint: '9',
    'double precision': '1.25',
    json: `'{"a": 1}'`,
    jsonb: `'{"a": 1}'`,
    'text[]': `array['a', 'b']`,
    'smallint[]': 'array[1]',
    'integer[]': 'array[2]',
  }
  if (type.startsWith('timestamp')) return `'2026-01-02T03:04:05.678Z'`
  const literal = samples[type]
  if (literal === undefined) throw new Error(`no sample of ${type} for ${table}.${column}`)
  return literal
}

async function rowsOf(tables: readonly string[]): Promise<Record<string, Record<string, unknown>[]>> {
  const rows = await Promise.all(
    tables.map(async (table) => {
      const found = await sql`select to_jsonb(t) as row from ${sql(table)} t order by to_jsonb(t)::text`
      return [table, found.map(({ row }) => row)] as const
    }),
  )
  return Object.fromEntries(rows)
}

describe('migrate tells', () => {
  it('what is pending, statement by statement', async () => {
    await use(await createEmptyDatabase())
    await migrateTo(made.url, names.at(-2) ?? '')
    const state = await readMigrationState(sql, 'postgres')
    expect(describeStatus(state)).toEqual([
      ...names.slice(0, -1).map((name) => `applied  ${name}`),
      `pending  ${newest}`,
      `${names.length - 1} applied, 1 pending`,
    ])
    const plan = describePlan(state)
    expect(plan[0]).toBe(`-- migration ${newest}`)
    const statements = knownMigrations().at(-1)?.statements ?? []
    for (const statement of statements) expect(plan.join('\n')).toContain(statement)
    expect(plan.filter((line) => line.startsWith('-- ')).length).toBe(statements.length + 1)
    // Only told, not done.
    expect(await readMigrationState(sql, 'postgres')).toEqual(state)
  })

  it('that nothing is, and that Citus is not there', async () => {
    await use(await createTestDatabase())
    expect(describePlan(await readMigrationState(sql, 'postgres'))).toEqual(['nothing is pending'])
    expect(describeStatus(await readMigrationState(sql, 'citus')).at(-1)).toMatch(
      /are not distributed: run npm run migrate$/,
    )
  })
})

it('a migration that does not get its lock lets others pass and tries again', async () => {
  await use(await createEmptyDatabase())
  await migrateTo(made.url, names.at(-2) ?? '')
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const { promise: locked, resolve: lock } = Promise.withResolvers<void>()
  // All of them: which one the newest migration changes is its own business.
  const tables =
    await sql`select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`
  const holder = sql.begin(async (tx) => {
    for (const { name } of tables) await tx`lock table ${tx(name)} in access share mode`
    lock()
    await released
  })
  await locked
  const migrated = migrateTables(made.url)
  await eventually(async () => {
    const [waiting] = await sql`
      select 1 as there from pg_locks where not granted and relation is not null and database = (select oid from pg_database where datname = current_database())`
    return waiting !== undefined
  })
  // Stood behind it, it would not be done before the holder is.
  for (const { name } of tables) await sql`select 1 from ${sql(name)}`
  release()
  await holder
  await migrated
  expect((await readMigrationState(sql, 'postgres')).pending).toEqual([])
})
