import { randomBytes } from 'node:crypto'
import { chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { flushFolder, unlessCode } from '../data-dir.ts'
import type { Binaries } from './binaries.ts'
import { livePostmaster } from './postmaster.ts'
import { run, type ServerUser } from './server-user.ts'
import { EmbeddedStartError, lastLines } from './start-error.ts'

/** The superuser that initdb makes. */
export const clusterUser = 'relevo'

export interface Cluster {
  /** Real path of DATA_DIR. */
  readonly dataDir: string
  /** `<DATA_DIR>/postgresql` */
  readonly folder: string
  readonly user: ServerUser
  readonly binaries: Binaries
}

const baseSettings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // The log must not hold what people typed: no failed statements (`log` ranks above `error` here), no details of them.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
}

/** Makes the cluster unless it is there. A kill half-way leaves a draft, never half a cluster. */
export async function ensureCluster(cluster: Cluster, password: string): Promise<void> {
  const { folder, binaries } = cluster
  const version = await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(unlessCode('ENOENT'))
  if (version === undefined) return initCluster(cluster, password)
  if (version.trim() === binaries.major) return
  throw new EmbeddedStartError(
    `${folder} was made by PostgreSQL ${version.trim()}, but this Relevo brings ${binaries.major}: ` +
      'move its contents with pg_dump of the older release, or choose another DATA_DIR',
  )
}

async function initCluster(cluster: Cluster, password: string): Promise<void> {
  const { dataDir, folder } = cluster
  const draft = join(dataDir, `postgresql.init-${randomBytes(6).toString('hex')}`)
  try {
    const made = await runInitdb(cluster, draft, password)
    await rename(made, folder).catch((error: unknown) => {
      unlessCode('ENOTEMPTY', 'EEXIST', 'ENOTDIR')(error)
      throw new EmbeddedStartError(`${folder} is in the way: it is no PostgreSQL folder`)
    })
    await flushFolder(dataDir)
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/** Returns the folder of the new cluster, in `draft`. */
async function runInitdb({ folder, user, binaries }: Cluster, draft: string, password: string): Promise<string> {
  const passwordFile = join(draft, 'password')
  const made = join(draft, 'cluster')
  await mkdir(draft, { mode: 0o700 })
  await mkdir(made, { mode: 0o700 })
  // A copy that the server's user can read; DATA_DIR's own belongs to us.
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  if (user.ids !== null) {
    for (const path of [draft, made, passwordFile]) await chown(path, user.ids.uid, user.ids.gid)
  }
  const form = ['--encoding=UTF8', '--locale=C', '--auth=scram-sha-256', `--username=${clusterUser}`]
  const args = [...form, `--pwfile=${passwordFile}`, `--pgdata=${made}`, '--no-instructions']
  const { problem } = await run(binaries.initdb, args, user)
  if (problem === null) return made
  throw new EmbeddedStartError(`cannot make a database in ${folder}: ${lastLines(problem, 2)}`)
}

/**
 * Starts the server on a free port. Returns null once it accepts connections, else what is wrong, in one line. pg_ctl
 * gives it a session of its own, so that a signal to our process group does not reach it.
 */
export async function startServer(
  { folder, user, binaries }: Cluster,
  settings: Readonly<Record<string, string>>,
): Promise<string | null> {
  const all = { ...baseSettings, ...settings, port: String(await freePort()) }
  const options = Object.entries(all).map(([name, value]) => `-c ${shellWord(`${name}=${value}`)}`)
  // PGDATA and a relative log, because pg_ctl puts paths between double quotes for the shell.
  const args = ['start', '--wait', '--timeout=120', '--log=server.log', `--options=${options.join(' ')}`]
  const { problem } = await run(binaries.pgCtl, args, user, { cwd: folder, env: { PGDATA: folder } })
  if (problem === null) return null
  const log = await readFile(join(folder, 'server.log'), 'utf8').catch(() => '')
  return lastLines(log, 2) || lastLines(problem, 1)
}

/** Keeps the log of the run before, no more: `server.log` is this run's. */
export async function turnLog({ folder }: Cluster): Promise<void> {
  await rename(join(folder, 'server.log'), join(folder, 'server.log.1')).catch(unlessCode('ENOENT'))
}

/** Ends the server in order (checkpoint, sessions cut) and waits. Returns null, or what is wrong. */
export async function stopServer({ folder, user, binaries }: Cluster): Promise<string | null> {
  if ((await livePostmaster(folder)) === undefined) return null
  const args = ['stop', '--wait', '--timeout=60', '--mode=fast']
  const { problem } = await run(binaries.pgCtl, args, user, { cwd: folder, env: { PGDATA: folder } })
  return problem === null || (await livePostmaster(folder)) === undefined ? null : lastLines(problem, 1)
}

/** A port of 127.0.0.1 that nobody has at this moment; the start is tried again should another take it in between. */
function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer().once('error', failed)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => done(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

function shellWord(text: string): string {
  return /^[\w=.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
