import type postgres from 'postgres'
import { storing } from './database.ts'

export interface ServerFacts {
  /** `18.4` */
  readonly version: string
  readonly major: number
  /** A standby takes no rows. */
  readonly isStandby: boolean
  /** Its clock, unix ms. */
  readonly now: number
  /** `max_locks_per_transaction`. */
  readonly locksPerSession: number
  /** So many sessions' worth of locks there is room for, held by whoever. */
  readonly sessions: number
}

/** What the database says of itself. Throws StorageError. */
export function serverFacts(sql: postgres.Sql): Promise<ServerFacts> {
  return storing('read server facts', async () => {
    const [row] = await sql`select current_setting('server_version') as version,
      current_setting('server_version_num')::int as number, pg_is_in_recovery() as standby,
      (extract(epoch from clock_timestamp()) * 1000)::float8 as now,
      current_setting('max_locks_per_transaction')::int as locks_per_session,
      (select sum(setting::int)::int from pg_settings where name in ('max_connections', 'max_prepared_transactions',
        'max_worker_processes', 'max_wal_senders', 'autovacuum_max_workers')) as sessions`
    const [version = ''] = String(row?.version).split(' ')
    return {
      version,
      major: Math.floor(Number(row?.number) / 10_000),
      isStandby: row?.standby === true,
      now: Number(row?.now),
      locksPerSession: row?.locks_per_session,
      sessions: row?.sessions,
    }
  })
}

/** The database's clock. Throws StorageError. */
export function databaseTime(sql: postgres.Sql): Promise<Date> {
  return storing('read the time', async () => {
    const [row] = await sql`select clock_timestamp() as now`
    return row?.now
  })
}

/** When the server was started, as it says it: another answer is another server's, or of the same after a crash. Throws StorageError. */
export function serverStart(sql: postgres.Sql): Promise<string> {
  return storing('read the start of the server', async () => {
    const [row] = await sql`select pg_postmaster_start_time()::text as started_at`
    return String(row?.started_at)
  })
}
