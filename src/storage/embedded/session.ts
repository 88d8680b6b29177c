import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { codeOf } from '../data-dir.ts'
import { type Cluster, clusterUser, stopServer } from './cluster.ts'
import { livePostmaster } from './postmaster.ts'
import { EmbeddedStartError, lastLines } from './start-error.ts'
import { takeLock } from './start-lock.ts'

const presenceName = 'relevo presence'

/** Our one lasting session on the server. */
export interface Presence {
  readonly sql: postgres.Sql
  urlOf(database: string): string
}

// Recovery after a kill replays what was not yet written out; minutes of it are rare.
const readyWithinMs = 120_000

/**
 * A session on the server that runs on this cluster, once it accepts one; undefined when none runs. Throws
 * EmbeddedStartError when one runs that refuses our password or does not get ready.
 */
export async function connectLive(folder: string, password: string): Promise<Presence | undefined> {
  const deadline = Date.now() + readyWithinMs
  for (;;) {
    const postmaster = await livePostmaster(folder)
    if (postmaster === undefined) return undefined
    const urlOf = (database: string) => `postgres://${clusterUser}:${password}@127.0.0.1:${postmaster.port}/${database}`
    const sql = openSession(urlOf('postgres'))
    try {
      await sql`select 1`
      return { sql, urlOf }
    } catch (error) {
      await sql.end({ timeout: 1 })
      // Class 28: it is up and does not know us. Anything else can pass: it starts, recovers or shuts down.
      const refused = codeOf(error)?.startsWith('28') === true
      if (refused || Date.now() >= deadline) throw unusable(folder, error)
      await delay(50)
    }
  }
}

function unusable(folder: string, error: unknown): EmbeddedStartError {
  const reason = lastLines(error instanceof Error ? error.message : String(error), 1)
  return new EmbeddedStartError(`a PostgreSQL server runs in ${folder}, but takes no session of ours: ${reason}`)
}

function openSession(url: string): postgres.Sql {
  const connection = { application_name: presenceName }
  // No lifetime: postgres.js would close it within the hour.
  const lasting = { max: 1, max_lifetime: null, connect_timeout: 5 }
  return postgres(url, { ...lasting, connection, ssl: false, fetch_types: false, onnotice: () => undefined })
}

export async function ensureDatabase({ sql }: Presence, database: string): Promise<void> {
  const found = await sql`select 1 from pg_database where datname = ${database}`
  if (found.length === 0) await sql`create database ${sql(database)}`
}

/**
 * Ends our session and, when no one else's is left, the server. Holds the start lock meanwhile, so that no start adopts
 * a server about to end. Throws EmbeddedStartError when the server does not stop.
 */
export async function leaveServer(presence: Presence, cluster: Cluster, lockFile: string): Promise<void> {
  // Who holds the lock so long is starting on this server: it is theirs. A disk that takes no lock, as it is full, lets nobody start.
  const lock = await takeLock(lockFile, 5_000).catch(() => null)
  try {
    const last = lock !== undefined && (await isLast(presence))
    await presence.sql.end({ timeout: 1 })
    const problem = last ? await stopServer(cluster) : null
    if (problem !== null) throw new EmbeddedStartError(`PostgreSQL does not stop in ${cluster.folder}: ${problem}`)
  } finally {
    await lock?.release()
  }
}

/** Not while another Relevo is present. Waits up to 1 s for other sessions: those of a pool just closed take a moment to end. */
async function isLast({ sql }: Presence): Promise<boolean> {
  const deadline = Date.now() + 1_000
  try {
    for (;;) {
      const [others] = await sql`
        select count(*)::int as sessions, count(*) filter (where application_name = ${presenceName})::int as presences
        from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`
      if (others?.sessions === 0) return true
      if (others?.presences > 0 || Date.now() >= deadline) return false
      await delay(20)
    }
  } catch {
    // It ended, or takes no sessions: then others have them all.
    return false
  }
}
