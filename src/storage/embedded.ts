import { randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf, createOnce, makeDataDir } from './data-dir.ts'
import { findPackage, removeLeftovers, usableBinaries } from './embedded/binaries.ts'
import { type Cluster, ensureCluster, startServer, turnLog } from './embedded/cluster.ts'
import { removeStalePidFile } from './embedded/postmaster.ts'
import { requirePassable, serverUser } from './embedded/server-user.ts'
import { connectLive, ensureDatabase, leaveServer, type Presence } from './embedded/session.ts'
import { asStartError, EmbeddedStartError } from './embedded/start-error.ts'
import { takeLock } from './embedded/start-lock.ts'

export { EmbeddedStartError } from './embedded/start-error.ts'

export interface EmbeddedOptions {
  readonly dataDir: string
  /** Made if missing. Default `relevo`. */
  readonly database?: string
  /** How many processes of Relevo are to find connections: default 1. Without effect on a server that is adopted, as the next. */
  readonly processes?: number
  /** PostgreSQL's own settings, by name. */
  readonly serverSettings?: Readonly<Record<string, string>>
}

export interface EmbeddedServer {
  /** `postgres://relevo:…@127.0.0.1:…/relevo`: holds the password, never to be logged. */
  readonly url: string
  /** True when the server ran already: another process started it, or one that was killed. */
  readonly adopted: boolean
  /** Close your own connections first. Stops the server unless sessions of others are left; they stop it then. */
  stop(): Promise<void>
}

/**
 * Starts PostgreSQL under DATA_DIR, or adopts the server that runs there (contract.md §2). Nothing in this process
 * watches it: it outlives a kill of ours and is adopted by the next start. One session stays open until `stop`, so that
 * another Relevo on the same folder that stops meanwhile leaves the server to us (it keeps the event loop alive too).
 * Throws EmbeddedStartError.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  try {
    const dataDir = await makeDataDir(options.dataDir)
    const lockFile = join(dataDir, 'embedded.lock')
    const lock = await takeLock(lockFile, 180_000).catch((error: unknown) => {
      // Of a full disk the file system names no path.
      throw new EmbeddedStartError(`cannot make ${lockFile}: ${codeOf(error) ?? 'unknown'}`, { cause: error })
    })
    if (lock === undefined) throw new EmbeddedStartError(`another start holds ${lockFile} and does not end`)
    try {
      return await startLocked(dataDir, lockFile, options)
    } finally {
      await lock.release()
    }
  } catch (error) {
    throw asStartError(error)
  }
}

/**
 * The first of what a start in embedded mode makes under DATA_DIR and that is not there, or null. For those who must make nothing; what
 * cannot be looked at counts as there, because the start says why.
 */
export async function missingFrom(dataDir: string): Promise<string | null> {
  for (const name of ['postgresql/PG_VERSION', 'database-password', 'master-key', 'admin-token']) {
    const found = await stat(join(dataDir, name)).catch(codeOf)
    if (found === 'ENOENT') return name
  }
  return null
}

async function startLocked(dataDir: string, lockFile: string, options: EmbeddedOptions): Promise<EmbeddedServer> {
  const { database = 'relevo', processes = 1, serverSettings = {} } = options
  const folder = join(dataDir, 'postgresql')
  const user = await serverUser(folder)
  await requirePassable(dataDir, user)
  const from = await findPackage()
  const cluster: Cluster = { dataDir, folder, user, binaries: await usableBinaries(from, dataDir, user) }
  const password = await readPassword(dataDir)
  const live = await connectLive(folder, password)
  if (live === undefined) await removeLeftovers(dataDir, from)
  const presence =
    live ?? (await startCluster(cluster, password, { max_connections: connectionsFor(processes), ...serverSettings }))
  await ensureDatabase(presence, database).catch(async (error: unknown) => {
    await presence.sql.end({ timeout: 1 })
    throw error
  })
  let leaving: Promise<void> | undefined
  return {
    url: presence.urlOf(database),
    adopted: live !== undefined,
    stop: () => {
      leaving ??= leaveServer(presence, cluster, lockFile)
      return leaving
    },
  }
}

/** A process holds 19 (docs/scaling.md). There may be more than it says: those of other roles, and of another Relevo that adopts the server. */
function connectionsFor(processes: number): string {
  return String(Math.max(100, 20 * (processes + 4)))
}

async function startCluster(
  cluster: Cluster,
  password: string,
  settings: Readonly<Record<string, string>>,
): Promise<Presence> {
  await ensureCluster(cluster, password)
  await turnLog(cluster)
  let problem: string | null = null
  // Again, because another program may have taken the port, or a killed server's last processes be about to end.
  for (const waitMs of [0, 100, 300, 600, 1000]) {
    await delay(waitMs)
    await removeStalePidFile(cluster.folder)
    problem = await startServer(cluster, settings)
    const presence = await connectLive(cluster.folder, password)
    if (presence !== undefined) return presence
  }
  throw new EmbeddedStartError(`PostgreSQL does not start in ${cluster.folder}: ${problem}`)
}

async function readPassword(dataDir: string): Promise<string> {
  const file = join(dataDir, 'database-password')
  const password = await createOnce(file, () => randomBytes(32).toString('base64url'))
  if (/^[\w-]{32,}$/.test(password)) return password
  throw new EmbeddedStartError(`${file} does not hold the password that Relevo made`)
}
