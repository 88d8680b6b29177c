import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { run, type ServerUser, serverUser } from '../../src/storage/embedded/server-user.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from './free-port.ts'

/** Where Debian's package postgresql-15 has its programs. The embedded server has no pg_dump and no pg_basebackup. */
const programs = '/usr/lib/postgresql/15/bin'
export const hasPostgresql15 = existsSync(join(programs, 'pg_basebackup'))
const password = 'servers-under-test'
const copying = ['-X', 'stream', '-c', 'fast', '--no-sync']
const conninfo = ({ port }: Server) => `host=127.0.0.1 port=${port} user=postgres password=${password}`

/** One server of PostgreSQL 15, in a folder and on a port of its own. */
export interface Server {
  readonly port: number
  url(database?: string): string
  /** One statement, as the superuser, on a connection of its own. */
  query(statement: string, database?: string): Promise<postgres.Row[]>
  /** SIGKILL to the postmaster and all its processes, as when a machine is lost. */
  kill(): Promise<void>
  /** SIGSTOP to all of them, as when a machine hangs: connections stay, and nobody answers. */
  stall(): Promise<void>
}

/** Servers of one test, all ended and removed by `close`. */
export interface Servers {
  /** A new cluster with these settings. */
  create(settings?: Readonly<Record<string, string>>): Promise<Server>
  /** A hot standby that streams from `primary`, known to it as `name`; on the port of a server that is gone, if one is given. */
  standbyOf(primary: Server, name: string, port?: number): Promise<Server>
  /** A base backup of a server that runs, in a new folder. Returns the folder. */
  baseBackup(of: Server): Promise<string>
  /** A server that begins with a base backup and takes the rest from the archive that `restoreCommand` reads. Resolves once it takes writes. */
  recover(backup: string, restoreCommand: string): Promise<Server>
  /** Runs one of PostgreSQL's programs as the user that the servers run as. Returns what it printed. */
  run(program: string, args: readonly string[]): Promise<string>
  /** Removed with the servers; their user may write there. */
  readonly folder: string
  close(): Promise<void>
}

export async function createServers(): Promise<Servers> {
  const folder = await mkdtemp(join(tmpdir(), 'relevo-servers-'))
  const user = await serverUser(folder)
  if (user.ids !== null) await chown(folder, user.ids.uid, user.ids.gid)
  const started: { kill(): Promise<void> }[] = []
  let made = 0
  const runProgram = async (program: string, args: readonly string[]) => {
    const { problem, output } = await run(join(programs, program), args, user, { env: { PGPASSWORD: password } })
    if (problem !== null) throw new Error(`${program}: ${problem}`)
    return output
  }
  const start = async (dataDir: string, port: number, settings: Readonly<Record<string, string>>) => {
    const server = await startServer(dataDir, port, settings, user)
    started.push(server)
    return server
  }
  return {
    folder,
    run: runProgram,
    async create(settings = {}) {
      const dataDir = join(folder, String(++made))
      const passwordFile = join(folder, 'password')
      await writeFile(passwordFile, password)
      const access = ['-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`]
      await runProgram('initdb', ['-D', dataDir, '--no-sync', '-E', 'UTF8', '--locale=C', ...access])
      return start(dataDir, await freePort(), settings)
    },
    async baseBackup(of) {
      const backup = join(folder, String(++made))
      await runProgram('pg_basebackup', ['-D', backup, ...copying, '-d', conninfo(of)])
      return backup
    },
    async recover(backup, restoreCommand) {
      await writeFile(join(backup, 'recovery.signal'), '')
      const server = await start(backup, await freePort(), { restore_command: restoreCommand })
      const isOpen = async () =>
        (await server.query('select from (select pg_is_in_recovery()) as x (y) where not y')).length === 1
      await eventually(isOpen, { timeoutMs: 60_000, everyMs: 100 })
      return server
    },
    async standbyOf(primary, name, port) {
      const dataDir = join(folder, String(++made))
      const from = `${conninfo(primary)} application_name=${name}`
      await runProgram('pg_basebackup', ['-D', dataDir, '-R', ...copying, '-d', from])
      return start(dataDir, port ?? (await freePort()), {})
    },
    async close() {
      await Promise.all(started.map((server) => server.kill()))
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

async function startServer(
  dataDir: string,
  port: number,
  settings: Readonly<Record<string, string>>,
  user: ServerUser,
): Promise<Server> {
  const all = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '', max_connections: 100, ...settings }
  const given = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C' }
  const options = { cwd: '/', env, ...user.ids, stdio: ['ignore', 'ignore', 'pipe'] as ['ignore', 'ignore', 'pipe'] }
  const child = spawn(join(programs, 'postgres'), ['-D', dataDir, ...given], options)
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000)
  })
  const url = (database = 'postgres') => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`
  const query = (statement: string, database?: string) => queryOnce(url(database), statement)
  const isUp = async () => {
    if (child.exitCode !== null) return true
    return (await query('select 1')).length === 1
  }
  await eventually(isUp, { timeoutMs: 60_000, everyMs: 100 })
  if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode}: ${said}`)
  return { port, url, query, kill: () => killAll(child), stall: () => signalAll(child, 'SIGSTOP') }
}

async function queryOnce(url: string, statement: string): Promise<postgres.Row[]> {
  const sql = postgres(url, { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => undefined })
  try {
    return await sql.unsafe(statement)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

async function killAll(postmaster: ChildProcess): Promise<void> {
  if (postmaster.exitCode !== null || postmaster.signalCode !== null) return
  const ended = once(postmaster, 'exit')
  await signalAll(postmaster, 'SIGKILL')
  await ended
}

/** Each process of a server leads a session of its own: there is no group to signal. */
async function signalAll({ pid }: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  for (const each of [pid ?? 0, ...children.trim().split(' ').filter(Boolean).map(Number)]) {
    try {
      if (each > 0) process.kill(each, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}
