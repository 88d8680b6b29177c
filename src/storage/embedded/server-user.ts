import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EmbeddedStartError } from './start-error.ts'

/** Who PostgreSQL's processes run as. PostgreSQL refuses to run as root. */
export interface ServerUser {
  readonly name: string
  /** Null: as ourselves. */
  readonly ids: { readonly uid: number; readonly gid: number } | null
}

export interface RunResult {
  /** Null when it ended with exit code 0; else its last words or the reason that it could not be run. */
  readonly problem: string | null
  readonly output: string
}

/** As root: the owner of the cluster that is there, else the system user `postgres`, else `nobody`. Else: ourselves. */
export async function serverUser(clusterFolder: string): Promise<ServerUser> {
  if (process.geteuid?.() !== 0) return { name: 'this user', ids: null }
  const cluster = await stat(clusterFolder).catch(() => null)
  const accounts = parseAccounts(await readFile('/etc/passwd', 'utf8').catch(() => ''))
  const owner = accounts.find(({ ids }) => ids.uid === cluster?.uid)
  if (owner !== undefined && owner.ids.uid !== 0) return owner
  if (cluster !== null && cluster.uid !== 0) {
    return { name: `uid ${cluster.uid}`, ids: { uid: cluster.uid, gid: cluster.gid } }
  }
  const found = accounts.find(({ name }) => name === 'postgres') ?? accounts.find(({ name }) => name === 'nobody')
  if (found !== undefined) return found
  throw new EmbeddedStartError('PostgreSQL refuses to run as root and /etc/passwd has no user postgres or nobody')
}

function parseAccounts(passwd: string) {
  return passwd.split('\n').flatMap((line) => {
    const match = /^([^:]+):[^:]*:(-?\d+):(-?\d+):/.exec(line)
    return match === null ? [] : [{ name: match[1] ?? '', ids: { uid: Number(match[2]), gid: Number(match[3]) } }]
  })
}

/**
 * Stops the start when the server's user cannot pass one of the folders on the way to `folder`. Asked of the kernel by
 * walking there under that uid, because mode bits do not tell of access lists or capabilities.
 */
export async function requirePassable(folder: string, user: ServerUser): Promise<void> {
  if (user.ids === null) return
  const way = [folder]
  for (let at = folder; at !== dirname(at); at = dirname(at)) way.unshift(dirname(at))
  const walk = 'for at do cd "$at" 2>/dev/null || { printf %s "$at"; exit 9; }; done'
  const { output } = await run('/bin/sh', ['-c', walk, 'sh', ...way], user)
  if (!way.includes(output)) return
  throw new EmbeddedStartError(
    `the folder ${output} cannot be passed by the user ${user.name}, under which PostgreSQL runs for root: ` +
      `make it passable (chmod o+x ${output}) or put DATA_DIR (${folder}) elsewhere`,
  )
}

/**
 * Runs one of PostgreSQL's programs to its end, at most 5 minutes. Of our environment it gets nothing: a server outlives
 * us, and MASTER_KEY must not be readable in its /proc entry.
 */
export function run(
  file: string,
  args: readonly string[],
  user: ServerUser,
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<RunResult> {
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C', LC_ALL: 'C', TZ: 'UTC', ...options.env }
  // Never in our own working folder: the other uid may not be able to pass it.
  const settings = { cwd: options.cwd ?? '/', env, ...user.ids, timeout: 300_000, maxBuffer: 1 << 22 }
  return new Promise((done) => {
    const child = execFile(file, args, settings, (error, stdout, stderr) => {
      const said = `${stdout}\n${stderr}`.trim()
      const name = file.slice(file.lastIndexOf('/') + 1)
      const reason = error === null ? null : said || `${name}: ${error.code ?? error.signal ?? error.message}`
      done({ problem: reason, output: said })
    })
    child.stdin?.end()
  })
}
