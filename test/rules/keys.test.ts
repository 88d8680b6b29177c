import { getTableName, is } from 'drizzle-orm'
import { getTableConfig, PgTable, pgTable, primaryKey, text, unique, uniqueIndex } from 'drizzle-orm/pg-core'
import { describe, expect, it } from 'vitest'
import * as schema from '../../src/storage/schema.ts'

const tables = Object.values(schema).filter((value) => is(value, PgTable))
/** contract.md §7: reference tables, on every shard, and operator tables. */
const exceptions = ['workspaces', 'waba_directory', 'leases', 'exchange_stats_frontier']

interface Found {
  readonly what: string
  readonly columns: readonly string[]
}

/** Everything of a table that a shard must be able to check alone: its primary key, unique constraints and indexes, foreign keys. */
function keysOf(table: PgTable): readonly Found[] {
  const { columns, primaryKeys, uniqueConstraints, indexes, foreignKeys } = getTableConfig(table)
  const namesOf = (list: readonly object[]) => list.map((column) => ('name' in column ? String(column.name) : '?'))
  const single = columns.flatMap(({ name, primary, isUnique }) => [
    ...(primary ? [{ what: 'primary key', columns: [name] }] : []),
    ...(isUnique ? [{ what: 'unique column', columns: [name] }] : []),
  ])
  const references = foreignKeys.flatMap((foreignKey) => {
    const { columns: own, foreignColumns, foreignTable } = foreignKey.reference()
    const what = `foreign key to ${getTableName(foreignTable)}`
    const target = { what: `target of ${what}`, columns: namesOf(foreignColumns) }
    return [{ what, columns: namesOf(own) }, ...(foreignTable === schema.workspaces ? [] : [target])]
  })
  return [
    ...single,
    ...primaryKeys.map((key) => ({ what: 'primary key', columns: namesOf(key.columns) })),
    ...uniqueConstraints.map((key) => ({ what: `unique ${key.getName()}`, columns: namesOf(key.columns) })),
    ...indexes
      .filter(({ config }) => config.unique)
      .map(({ config }) => ({ what: `unique index ${config.name}`, columns: namesOf(config.columns) })),
    ...references,
  ]
}

function violationsOf(table: PgTable): string[] {
  const keys = keysOf(table)
  const wrong = keys.filter(({ columns }) => columns[0] !== 'workspace_id')
  const lines = wrong.map(({ what, columns }) => `${what} (${columns.join(', ')})`)
  return keys.some(({ what }) => what === 'primary key') ? lines : ['no primary key', ...lines]
}

describe('keys (contract.md §7)', () => {
  it('there are tables to look at', () => {
    expect(tables.length).toBeGreaterThanOrEqual(12)
    expect(tables.map(getTableName)).toEqual(expect.arrayContaining(exceptions))
  })

  it.each(tables.map((table) => [getTableName(table), table] as const).filter(([name]) => !exceptions.includes(name)))(
    'of %s begin with workspace_id',
    (_name, table) => {
      expect(violationsOf(table)).toEqual([])
    },
  )

  it('the listed exceptions need to be exceptions', () => {
    const listed = tables.filter((table) => exceptions.includes(getTableName(table)))
    expect(listed.every((table) => violationsOf(table).length > 0)).toBe(true)
  })
})

describe('the rule sees', () => {
  const columns = () => ({
    workspaceId: text('workspace_id').notNull(),
    id: text('id').notNull(),
    other: text('other'),
  })

  it('a primary key of one column, or in another order, or none', () => {
    expect(violationsOf(pgTable('t', { id: text('id').primaryKey() }))).toEqual(['primary key (id)'])
    const turned = pgTable('t', columns(), (t) => [primaryKey({ columns: [t.id, t.workspaceId] })])
    expect(violationsOf(turned)).toEqual(['primary key (id, workspace_id)'])
    expect(violationsOf(pgTable('t', columns()))).toEqual(['no primary key'])
  })

  it('unique columns, constraints and indexes', () => {
    const table = pgTable('t', { ...columns(), code: text('code').unique() }, (t) => [
      primaryKey({ columns: [t.workspaceId, t.id] }),
      unique('u').on(t.other),
      uniqueIndex('i').on(t.other, t.workspaceId),
    ])
    expect(violationsOf(table)).toEqual([
      'unique column (code)',
      'unique u (other)',
      'unique index i (other, workspace_id)',
    ])
  })

  it('foreign keys, from and to', () => {
    const target = pgTable('target', { id: text('id').primaryKey() })
    const table = pgTable('t', { ...columns(), target: text('target_id').references(() => target.id) }, (t) => [
      primaryKey({ columns: [t.workspaceId, t.id] }),
    ])
    expect(violationsOf(table)).toEqual(['foreign key to target (target_id)', 'target of foreign key to target (id)'])
  })
})
