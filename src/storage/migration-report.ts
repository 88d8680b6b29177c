import type postgres from 'postgres'
import { unfitFor } from './citus/distribution.ts'
import { type DatabaseBackend, storing } from './database.ts'
import { knownMigrations, type Migration, pendingMigrations } from './migrations.ts'
import { costOf, newTables } from './statement-locks.ts'

/** Where a database stands with the migrations of our tables. */
export interface MigrationState {
  readonly known: readonly Migration[]
  readonly pending: readonly Migration[]
  /** What else keeps the service from starting; null when nothing does. */
  readonly unfit: string | null
}

/** Reads, and changes nothing. Throws StorageError. */
export function readMigrationState(sql: postgres.Sql, backend: DatabaseBackend): Promise<MigrationState> {
  return storing('read migrations', async () => {
    const pending = await pendingMigrations(sql)
    return { known: knownMigrations(), pending, unfit: pending.length > 0 ? null : await unfitFor(sql, backend) }
  })
}

/** A line for each migration, then one that says it all. */
export function describeStatus({ known, pending, unfit }: MigrationState): string[] {
  const isPending = new Set(pending.map(({ name }) => name))
  return [
    ...known.map(({ name }) => `${isPending.has(name) ? 'pending' : 'applied'}  ${name}`),
    `${known.length - pending.length} applied, ${pending.length} pending`,
    ...(unfit === null ? [] : [unfit]),
  ]
}

/** Pending migrations with their statements, each under what it makes others wait for. */
export function describePlan({ pending, unfit }: MigrationState): string[] {
  const lines = pending.flatMap(({ name, statements }) => {
    const made = newTables(statements)
    const isNew = (table: string) => made.has(table)
    return [`-- migration ${name}`, ...statements.flatMap((statement) => planOf(statement, isNew)), '']
  })
  const ending = pending.length === 0 ? [unfit ?? 'nothing is pending'] : []
  return [...lines, ...ending]
}

const blockedWords = {
  none: 'nobody waits',
  instant: 'everyone waits for an instant',
  writes: 'HEAVY: writers wait',
  all: 'HEAVY: everyone waits',
} as const

function planOf(statement: string, isNew: (table: string) => boolean): string[] {
  const { blocks, rewrites, why } = costOf(statement, isNew)
  const text = statement.endsWith(';') ? statement : `${statement};`
  return [`-- ${blockedWords[blocks]}${rewrites ? ', the table is rewritten' : ''}: ${why}`, text]
}
