import type postgres from 'postgres'
import { storing } from './database.ts'

/** Rows of one statement: it must hold its locks for milliseconds only. */
const chunkRows = 1000

/** Tables whose rows go one by one, by their key and the column with their age. */
const aging = {
  meta_events: { key: ['workspace_id', 'digest'], age: 'created_at' },
  expunges: { key: ['workspace_id', 'kind', 'digest'], age: 'expunged_at' },
  webhook_breakers: { key: ['workspace_id', 'webhook_id', 'process'], age: 'seen_at' },
} as const
export type AgingTable = keyof typeof aging

/** Removes rows of before `before`, in small steps, until `signal`. Returns how many. Throws StorageError. */
export async function deleteOldRows(
  sql: postgres.Sql,
  table: AgingTable,
  before: Date,
  signal: AbortSignal,
): Promise<number> {
  const { key, age } = aging[table]
  return deleteInSteps(sql, table, key, sql`${sql(age)} < ${before}`, signal)
}

/** Removes the rows of a table with this key that are old, in small steps, until `signal`. Returns how many. Throws StorageError. */
export async function deleteInSteps(
  sql: postgres.Sql,
  table: string,
  key: readonly string[],
  isOld: postgres.PendingQuery<postgres.Row[]>,
  signal: AbortSignal,
): Promise<number> {
  let total = 0
  while (!signal.aborted) {
    const { count } = await storing(
      'delete old rows',
      () => sql`
      delete from ${sql(table)} where (${sql(key)}) in
        (select ${sql(key)} from ${sql(table)} where ${isOld} limit ${chunkRows})`,
    )
    total += count
    if (count < chunkRows) break
  }
  return total
}
