import postgres from 'postgres'
import { eventually } from '../support/eventually.ts'

/** Reads the log once no exchange in it is open any more. */
export async function readClosedRows<T>(databaseUrl: string, read: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(databaseUrl, { max: 1 })
  try {
    const open = () => sql`select 1 from exchanges where outcome is null limit 1`
    await eventually(async () => (await open()).length === 0, { timeoutMs: 30_000, everyMs: 100 })
    return await read(sql)
  } finally {
    await sql.end()
  }
}
