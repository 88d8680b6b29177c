import postgres from 'postgres'
import { type Database, openDatabase } from '../../src/storage/database.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'

/** A database of the test's own, as Relevo opens it and as the test looks into it. */
export interface OpenedDatabase {
  readonly made: TestDatabase
  readonly database: Database
  readonly sql: postgres.Sql
  /** Closes both and drops it. */
  close(): Promise<void>
}

export async function openTestDatabase(): Promise<OpenedDatabase> {
  const made = await createTestDatabase()
  const database = openDatabase(made.settings)
  const sql = postgres(made.url, { max: 6 })
  const close = async () => {
    await sql.end()
    await database.close()
    await made.drop()
  }
  return { made, database, sql, close }
}
