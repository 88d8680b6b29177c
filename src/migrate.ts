import { migrateQueue } from './events/queue.ts'
import { migrateTables } from './storage/migrate.ts'

/** Makes a database what this release needs: our tables, then the queue's. Repeatable. Throws StorageError. */
export async function migrate(url: string): Promise<void> {
  await migrateTables(url)
  await migrateQueue(url)
}
