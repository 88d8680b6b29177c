import type postgres from 'postgres'
import { eventually } from './eventually.ts'

/** Resolves once so many sessions of this database wait for somebody's lock. */
export async function waitForLocks(sql: postgres.Sql, sessions: number): Promise<void> {
  await eventually(async () => {
    const [row] = await sql`
      select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    return row?.n === sessions
  })
}
