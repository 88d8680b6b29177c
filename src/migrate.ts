import { migrateQueue } from './events/queue.ts'
import type { DatabaseBackend } from './storage/database.ts'
import { migrateTables } from './storage/migrate.ts'

/** Makes a database what this release needs: our tables, then the queue's. Repeatable. Throws StorageError. */
export async function migrate(url: string, backend: DatabaseBackend = 'postgres'): Promise<void> {
  await migrateTables(url, backend)
  await migrateQueue(url, backend)
}
