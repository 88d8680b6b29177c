import type postgres from 'postgres'
import { storing } from './database.ts'

/**
 * Takes what only one process may do at a time, or keeps it: true when `holder` has it for the next `seconds`. By the database's clock
 * alone, so that processes need not agree on the time. An operator table. Throws StorageError.
 */
export function holdLease(sql: postgres.Sql, name: string, holder: string, seconds: number): Promise<boolean> {
  return storing('hold lease', async () => {
    const held = await sql`
      insert into leases (name, holder, expires_at) values (${name}, ${holder}, now() + make_interval(secs => ${seconds}))
      on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
        where leases.holder = excluded.holder or leases.expires_at <= now()
      returning name`
    return held.length === 1
  })
}

/** Gives a lease back, if it is still this holder's: the next need not wait for its end. Throws StorageError. */
export function releaseLease(sql: postgres.Sql, name: string, holder: string): Promise<void> {
  return storing('release lease', async () => {
    await sql`delete from leases where name = ${name} and holder = ${holder}`
  })
}
