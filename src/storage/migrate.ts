import type postgres from 'postgres'
import { addsForeignKey, distribute, prepareSession, unfitFor } from './citus/distribution.ts'
import { type Database, type DatabaseBackend, storing } from './database.ts'
import { openClient } from './driver.ts'
import { applyPending, pendingMigrations } from './migrations.ts'

// Any number, the same in every process: two that migrate at once take turns.
const lockId = 0x72_6c_76

/** A migration may rewrite a large table: an hour, in ms. */
const migrateMs = 3_600_000

/** Applies all pending migrations of the tables, in order, and distributes them on Citus. Throws StorageError, DistributionRefused. */
export function migrateTables(url: string, backend: DatabaseBackend = 'postgres'): Promise<void> {
  return migrating(url, 'migrate', async (client) => {
    if (backend === 'postgres') return applyPending(client, () => false)
    await prepareSession(client)
    await applyPending(client, addsForeignKey)
    await distribute(client)
  })
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
export function countPendingMigrations(client: postgres.Sql): Promise<number> {
  return storing('count pending migrations', async () => (await pendingMigrations(client)).length)
}

/** What a database must have before a service can run on it, in words for the operator; null when it has it all. Throws StorageError. */
export function lacksOf({ sql, backend }: Database): Promise<string | null> {
  return storing('check migrations', async () => {
    const pending = await countPendingMigrations(sql)
    return pending > 0 ? `the database lacks ${pending} migration(s): run npm run migrate` : unfitFor(sql, backend)
  })
}
