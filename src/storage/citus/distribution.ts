import { getTableName, is } from 'drizzle-orm'
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core'
import type postgres from 'postgres'
import * as schema from '../schema.ts'

/**
 * Where Citus, the distributed PostgreSQL, keeps our tables: every one distributed by its workspace, all alike, so that what belongs to one workspace lies
 * on one worker; but for those below (contract.md §7). Only what Citus documents: create_reference_table, create_distributed_table with
 * `colocate_with`, foreign keys by ALTER TABLE, truncate_local_data_after_distributing_table, the catalogue pg_dist_partition.
 */

/** On every node: joined with rows of any workspace, changed seldom, and before one knows the workspace. */
const referenceTables = ['workspaces', 'waba_directory'] as const
/** Operator tables: a few rows that Citus is not told of, beside the queue's schema. */
const coordinatorTables = ['leases', 'exchange_stats_frontier'] as const
/** The first to be distributed; all others lie where its rows lie. */
const anchor = 'wabas'
const distributionColumn = 'workspace_id'

/** A database that cannot become what was asked; the message is one line for the operator. */
export class DistributionRefused extends Error {}

const tables = Object.values(schema).filter((value) => is(value, PgTable))
const isIn = (names: readonly string[]) => (name: string) => names.includes(name)
const isReference = isIn(referenceTables)

export const distributedTables: readonly string[] = tables
  .map((table) => getTableName(table))
  .filter((name) => !isReference(name) && !isIn(coordinatorTables)(name))
  .sort((a, b) => Number(b === anchor) - Number(a === anchor) || a.localeCompare(b))

interface Placement {
  readonly isReference: boolean
  /** Null: Citus knows the table and has not distributed it. */
  readonly distributedBy: string | null
  readonly colocation: number
}

/** Makes a session ready to change tables that are distributed, and to distribute them. Throws DistributionRefused without Citus. */
export async function prepareSession(sql: postgres.Sql): Promise<void> {
  if (!(await hasCitus(sql))) {
    throw new DistributionRefused(
      'DATABASE_BACKEND=citus, but the database has no Citus: run `create extension citus` on every node',
    )
  }
  // Where a foreign key points to a reference table Citus refuses to change it and a distributed one side by side.
  await sql`set citus.multi_shard_modify_mode to 'sequential'`
}

/**
 * Distributes what is not yet, in a session of {@link prepareSession}. Repeatable: whoever was interrupted goes on. Each table in a transaction of its own, as Citus has to be told of
 * one at a time. A table's rows move with it, and who writes to it waits. Throws DistributionRefused.
 */
export async function distribute(sql: postgres.Sql): Promise<void> {
  const missing = await missingOf(sql)
  if (missing.length > 0) await dropForeignKeys(sql, missing)
  for (const name of missing) await place(sql, name)
  const left = await missingOf(sql)
  if (left.length > 0) throw new DistributionRefused(`Citus did not distribute ${left.join(', ')}`)
  await addForeignKeys(sql)
}

/** What {@link distribute} has yet to do, in its order. Throws DistributionRefused for a table that somebody distributed otherwise. */
export async function missingOf(sql: postgres.ISql): Promise<string[]> {
  const placed = await placements(sql)
  const home = placed.get(anchor)?.colocation
  const wanted = [...referenceTables, ...distributedTables]
  return wanted.filter((name) => {
    const placement = placed.get(name)
    if (placement === undefined) return true
    if (isReference(name) ? placement.isReference : isAtHome(placement, home)) return false
    // Local, but known to Citus, which made it so because of a foreign key: it can be placed as it stands.
    if (!placement.isReference && placement.distributedBy === null) return true
    throw new DistributionRefused(
      `${name} is distributed otherwise: it must ${isReference(name) ? 'be a reference table' : `lie with ${anchor}, by ${distributionColumn}`}`,
    )
  })
}

const isAtHome = ({ distributedBy, colocation }: Placement, home: number | undefined) =>
  distributedBy === distributionColumn && colocation === home

/**
 * Why a service set to `backend` cannot run on this database, in words for the operator; null when it can: rows of many workspaces in one statement
 * is what Citus refuses, and on the day of a burst at the earliest.
 */
export async function unfitFor(sql: postgres.ISql, backend: 'postgres' | 'citus'): Promise<string | null> {
  const isThere = await hasCitus(sql)
  if (backend === 'citus') {
    const missing = isThere ? await missingOf(sql) : distributedTables
    return missing.length === 0 ? null : `${missing.length} table(s) are not distributed: run npm run migrate`
  }
  const isDistributed = isThere && (await placements(sql)).has(anchor)
  return isDistributed ? 'the tables are distributed: set DATABASE_BACKEND=citus' : null
}

/** Whether the database has Citus: its functions are in pg_catalog. */
export async function hasCitus(sql: postgres.ISql): Promise<boolean> {
  const [row] = await sql`
    select to_regclass('pg_dist_partition') is not null
      and exists (select from pg_proc where proname = 'create_distributed_table') as present`
  return row?.present === true
}

async function placements(sql: postgres.ISql): Promise<Map<string, Placement>> {
  const rows = await sql`
    select c.relname as name, p.partmethod = 'n' and p.repmodel = 't' as is_reference, p.colocationid::int as colocation,
      case when p.partmethod = 'h' then column_to_column_name(p.logicalrelid, p.partkey) end as distributed_by
    from pg_dist_partition p join pg_class c on c.oid = p.logicalrelid
    where c.relnamespace = current_schema()::regnamespace`
  return new Map(
    rows.map((row) => [
      row.name as string,
      { isReference: row.is_reference, distributedBy: row.distributed_by, colocation: row.colocation },
    ]),
  )
}

async function place(sql: postgres.Sql, name: string): Promise<void> {
  const [row] = await sql`select exists (select from ${sql(name)}) as has_rows`
  if (isReference(name)) await sql`select create_reference_table(${name})`
  else {
    const home = name === anchor ? 'none' : anchor
    await sql`select create_distributed_table(${name}, ${distributionColumn}, colocate_with => ${home})`
  }
  // They were copied; what stays behind is hidden, and in the way of constraints.
  if (row?.has_rows === true) await sql`select truncate_local_data_after_distributing_table(${name})`
}

interface ForeignKey {
  readonly name: string
  readonly from: string
  readonly to: string
  /** What stands after ADD CONSTRAINT. */
  readonly definition: string
}

function foreignKeys(): ForeignKey[] {
  return tables.flatMap((table) =>
    getTableConfig(table).foreignKeys.map((foreignKey) => {
      const { columns, foreignColumns, foreignTable } = foreignKey.reference()
      const listOf = (list: readonly { readonly name: string }[]) => list.map(({ name }) => `"${name}"`).join(', ')
      const to = getTableName(foreignTable)
      return {
        // As PostgreSQL shortens it.
        name: foreignKey.getName().slice(0, 63),
        from: getTableName(table),
        to,
        definition: `foreign key (${listOf(columns)}) references "${to}" (${listOf(foreignColumns)}) on delete ${foreignKey.onDelete ?? 'no action'}`,
      }
    }),
  )
}

/**
 * A table cannot refer to one that is distributed before it is itself, nor be referred to by one that is not. So those of a table that is to be placed go,
 * and come back, checked, when all are placed.
 */
async function dropForeignKeys(sql: postgres.Sql, missing: readonly string[]): Promise<void> {
  for (const { name, from, to } of foreignKeys()) {
    if (missing.includes(from) || missing.includes(to)) {
      await sql`alter table ${sql(from)} drop constraint if exists ${sql(name)}`
    }
  }
}

async function addForeignKeys(sql: postgres.Sql): Promise<void> {
  const rows = await sql`
    select conname as name from pg_constraint where contype = 'f' and connamespace = current_schema()::regnamespace`
  const there = new Set(rows.map(({ name }) => name))
  for (const { name, from, definition } of foreignKeys()) {
    if (!there.has(name)) await sql.unsafe(`alter table "${from}" add constraint "${name}" ${definition}`)
  }
}

/** Statements of migrations that are left to {@link distribute}: a new table cannot refer to a distributed one before it is distributed. */
export function addsForeignKey(statement: string): boolean {
  return /^\s*alter table \S+ add constraint \S+ foreign key/i.test(statement)
}
