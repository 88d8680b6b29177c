import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { serverUser } from '../../src/storage/embedded/server-user.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from './free-port.ts'

const program = '/usr/sbin/pgbouncer'
export const hasPgBouncer = existsSync(program)

export interface PgBouncer {
  /** As the server's URL, through the pooler. */
  readonly url: string
  close(): Promise<void>
}

/** PgBouncer in transaction mode before every database of a server. Fewer connections than Relevo's pools have: sessions do change hands. */
export async function startPgBouncer(serverUrl: string): Promise<PgBouncer> {
  const server = new URL(serverUrl)
  const folder = await mkdtemp(join(tmpdir(), 'relevo-pgbouncer-'))
  const users = join(folder, 'users.txt')
  const file = join(folder, 'pgbouncer.ini')
  const port = await freePort()
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    auth_type: 'scram-sha-256',
    auth_file: users,
    admin_users: decodeURIComponent(server.username),
    pool_mode: 'transaction',
    default_pool_size: 6,
    max_client_conn: 1000,
    server_connect_timeout: 5,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`)
  const databases = `* = host=${server.hostname} port=${server.port || 5432}`
  await writeFile(file, ['[databases]', databases, '[pgbouncer]', ...lines, ''].join('\n'))
  await writeFile(users, `"${decodeURIComponent(server.username)}" "${decodeURIComponent(server.password)}"\n`)
  // It refuses to run as root, as PostgreSQL does.
  const { ids } = await serverUser(folder)
  if (ids !== null) for (const path of [folder, file, users]) await chown(path, ids.uid, ids.gid)
  const child = spawn(program, ['-q', file], {
    cwd: '/',
    env: { LC_ALL: 'C' },
    ...ids,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = once(child, 'exit')
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2000)
  })
  const url = new URL(serverUrl)
  url.host = `127.0.0.1:${port}`
  const close = async () => {
    child.kill('SIGQUIT')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await eventually(() => child.exitCode !== null || answers(url.href), { timeoutMs: 30_000, everyMs: 50 })
    if (child.exitCode !== null) throw new Error(`pgbouncer ended with ${child.exitCode}`)
    return { url: url.href, close }
  } catch (error) {
    if (child.exitCode === null) await close()
    throw new Error(`pgbouncer does not come up: ${said}`, { cause: error })
  }
}

async function answers(url: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, fetch_types: false, prepare: false })
  try {
    return (await sql`select 1`).length === 1
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** What its console says to a SHOW. */
export async function showPgBouncer(url: string, what: string): Promise<postgres.Row[]> {
  const console = new URL(url)
  console.pathname = '/pgbouncer'
  const sql = postgres(console.href, { max: 1, connect_timeout: 5, fetch_types: false, prepare: false })
  try {
    return await sql.unsafe(`show ${what}`)
  } finally {
    await sql.end({ timeout: 1 })
  }
}
