import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { eventually } from './eventually.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface RelevoProcess {
  readonly child: ChildProcess
  readonly pid: number
  /** All it printed so far, both streams. */
  output(): string
  /** Resolves with the URL it listens on; fails if it ends before. */
  listening(): Promise<string>
  /** Resolves with its exit code, or the signal that ended it. */
  ended(): Promise<number | string | null>
}

const running = new Set<ChildProcess>()

/** Half of what a start costs is compiling: 3.1 s of CPU, then 1.7, on a slow machine. */
const compiled = join(root, 'node_modules/.cache/node')

/**
 * Runs `relevo …` as a supervisor would, with no environment but this. Unless it names a DATA_DIR, one of its own. `cwd`: the folder of
 * another release. `stdio`: where both streams go, in place of `output()`: a file descriptor.
 */
export function runRelevo(
  args: readonly string[],
  environment: Record<string, string> = {},
  cwd: string = root,
  stdio: 'pipe' | number = 'pipe',
): RelevoProcess {
  const ownDataDir = environment.DATA_DIR === undefined ? mkdtempSync(join(tmpdir(), 'relevo-data-')) : null
  const env = { PATH: '/usr/bin:/bin', NODE_COMPILE_CACHE: compiled, DATA_DIR: ownDataDir ?? '', ...environment }
  const child = spawn(process.execPath, ['src/cli.ts', ...args], { cwd, env, stdio: ['ignore', stdio, stdio] })
  running.add(child)
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  const closed = once(child, 'close').then(() => {
    running.delete(child)
    if (ownDataDir !== null) rmSync(ownDataDir, { recursive: true, force: true })
    return child.exitCode ?? child.signalCode
  })
  return {
    child,
    pid: child.pid ?? 0,
    output: () => printed,
    listening: () =>
      eventually(
        () => {
          const [, url] = /^listening on (\S+)$/m.exec(printed) ?? []
          if (url !== undefined) return url
          if (child.exitCode !== null) throw new Error(`relevo ended with ${child.exitCode}: ${printed}`)
          return null
        },
        { timeoutMs: 50_000 },
      ),
    ended: () => closed,
  }
}

/** For afterEach: ends what a failed test left. */
export function endProcesses(): void {
  for (const child of running) child.kill('SIGKILL')
}
