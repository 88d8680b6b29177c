import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { livePostmaster } from '../../src/storage/embedded/postmaster.ts'

/** A new folder under the system's temporary one: a DATA_DIR for one test server, for {@link removeEmbedded} to end. */
export async function freshDataDir(): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), 'relevo-test-')))
}

/** Ends the PostgreSQL of a DATA_DIR, however busy, and removes the folder. */
export async function removeEmbedded(dataDir: string): Promise<void> {
  await killServer(dataDir)
  await rm(dataDir, { recursive: true, force: true, maxRetries: 5 })
}

/** SIGQUIT ends a server at once, without a checkpoint; SIGKILL leaves its pid file too. Waits until it is gone. */
export async function killServer(dataDir: string, signal: 'SIGQUIT' | 'SIGKILL' = 'SIGQUIT'): Promise<void> {
  const cluster = join(dataDir, 'postgresql')
  const postmaster = await livePostmaster(cluster)
  if (postmaster !== undefined) process.kill(postmaster.pid, signal)
  for (const deadline = Date.now() + 10_000; (await livePostmaster(cluster)) !== undefined; await delay(20)) {
    if (Date.now() > deadline) throw new Error(`the server in ${dataDir} does not end`)
  }
}

/** A Relevo that does nothing but have an embedded PostgreSQL. */
export interface EmbeddedProcess {
  readonly pid: number
  readonly url: string
  readonly adopted: boolean
  /** Sends a signal to its whole process group, which it leads, and waits for its end. */
  killGroup(signal: NodeJS.Signals): Promise<void>
  /** Has it call stop() and waits for its end. */
  stop(): Promise<void>
}

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly uid?: number
  readonly gid?: number
}

/** Kills a first start, children and all, while initdb is at work. */
export async function killFirstStart(dataDir: string): Promise<void> {
  const child = launch(dataDir, {})
  const ended = once(child, 'close')
  while (!(await readdir(dataDir)).some((name) => name.startsWith('postgresql.init-'))) await delay(5)
  process.kill(-(child.pid ?? Number.NaN), 'SIGKILL')
  await ended
}

/** Runs test/support/embedded-process.ts; rejects with what it printed when the start fails. */
export async function spawnEmbedded(dataDir: string, options: SpawnOptions = {}): Promise<EmbeddedProcess> {
  const child = launch(dataDir, options)
  const ended = once(child, 'close')
  const end = async () => {
    await Promise.race([ended, failAfter(20_000, 'the process with the embedded server does not end')])
  }
  const { url, adopted } = await firstLine(child)
  const pid = child.pid ?? Number.NaN
  return {
    pid,
    url,
    adopted,
    killGroup: async (signal) => {
      process.kill(-pid, signal)
      await end()
    },
    stop: async () => {
      child.stdin.end()
      await end()
      if (child.exitCode !== 0) throw new Error(`the process with the embedded server ended with ${child.exitCode}`)
    },
  }
}

function launch(dataDir: string, options: SpawnOptions): ChildProcessWithoutNullStreams {
  const script = fileURLToPath(new URL('embedded-process.ts', import.meta.url))
  const env = { PATH: process.env.PATH, ...options.env }
  return spawn(process.execPath, [script, dataDir], { ...options, env, detached: true })
}

async function firstLine(child: ChildProcessWithoutNullStreams): Promise<{ url: string; adopted: boolean }> {
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    complaint += chunk
  })
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line)
  throw new Error(complaint.trim())
}

async function failAfter(ms: number, message: string): Promise<never> {
  await delay(ms, undefined, { ref: false })
  throw new Error(message)
}
