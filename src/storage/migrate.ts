import { fileURLToPath } from 'node:url'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import type postgres from 'postgres'
import { storing } from './database.ts'
import { openClient } from './driver.ts'

const migrationsFolder = fileURLToPath(new URL('../../migrations', import.meta.url))

// Any number, the same in every process: two that migrate at once take turns.
const lockId = 0x72_6c_76

/** A migration may rewrite a large table: an hour, in ms. */
const migrateMs = 3_600_000

/** Applies all pending migrations of the tables, in order. Throws StorageError. */
export function migrateTables(url: string): Promise<void> {
  return migrating(url, 'migrate', (client) => applyMigrations(drizzle({ client }), { migrationsFolder }))
}

/** Runs a change of tables on a connection of its own, one process at a time. Throws StorageError. */
export async function migrating(
  url: string,
  operation: string,
  change: (client: postgres.Sql) => Promise<void>,
): Promise<void> {
  const client = openClient(url, { max: 1, connection: { application_name: 'relevo' } })
  const work = async () => {
    await client`select pg_advisory_lock(${lockId})`
    await change(client)
  }
  try {
    await storing(operation, work, migrateMs)
  } finally {
    await client.end({ timeout: 5 })
  }
}

/** How many migrations of this release the database lacks. Throws StorageError. */
export async function countPendingMigrations(client: postgres.Sql): Promise<number> {
  const known = readMigrationFiles({ migrationsFolder })
  return storing('count pending migrations', async () => {
    const [table] = await client`select to_regclass('drizzle.__drizzle_migrations') is not null as present`
    if (table?.present !== true) return known.length
    const [last] = await client`select coalesce(max(created_at), 0)::float8 as at from drizzle.__drizzle_migrations`
    return known.filter((migration) => migration.folderMillis > Number(last?.at)).length
  })
}
