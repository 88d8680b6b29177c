import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { DemoFailed, describe } from './failed.ts'

const startDeadlineMs = 60_000
// Above what Relevo allows itself: what is in flight, its pools, its embedded database.
const stopDeadlineMs = 20_000
const keptLines = 40

type Child = { name: string; process: ChildProcess; output: string[]; listened: boolean }

/** Processes that the demo starts and, whatever happens, ends. */
export type Children = {
  /**
   * Runs a TypeScript file of this repository and resolves with the URL that it prints as `listening on <url>`. The environment
   * holds nothing but `env`: no DATABASE_URL of the shell gets through. Rejects with DemoFailed, or the signal's reason.
   */
  start(name: string, args: string[], env: Record<string, string>): Promise<string>
  /** The last lines each process printed, with its name. */
  lastLines(): string[]
  /** Asks all to end with SIGTERM and waits. Resolves with what did not end well: Relevo must exit 0. */
  stop(): Promise<string[]>
}

export function createChildren(cwd: string, signal: AbortSignal): Children {
  const children: Child[] = []
  // The last resort, if the demo itself dies of an error.
  process.once('exit', endAll)

  function endAll(): void {
    for (const child of children) child.process.kill()
  }

  async function start(name: string, args: string[], env: Record<string, string>): Promise<string> {
    signal.throwIfAborted()
    // A process group of its own: Ctrl-C reaches the demo alone, which then ends each child once.
    const child = spawn(process.execPath, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    const output: string[] = []
    const started: Child = { name, process: child, output, listened: false }
    children.push(started)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const timer = setTimeout(
      () => reject(new DemoFailed(`${name} does not listen after ${startDeadlineMs} ms`)),
      startDeadlineMs,
    )
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        output.push(line)
        if (output.length > keptLines) output.shift()
        const [, url] = /listening on (https?:\/\/[^\s"]+)/.exec(line) ?? []
        if (url === undefined) return
        started.listened = true
        resolve(url)
      })
    }
    child.on('error', (error) => reject(new DemoFailed(`${name} could not be started: ${describe(error)}`)))
    const ended = () =>
      reject(new DemoFailed(`${name} ended with ${child.exitCode ?? child.signalCode} before it listened`))
    child.on('close', ended)
    // A grandchild may hold the pipes open, and then `close` would not come.
    child.on('exit', () => setTimeout(ended, 1000).unref())
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort)
    return promise.finally(() => {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
    })
  }

  async function stop(): Promise<string[]> {
    const ends = await Promise.all(children.map(async (child) => ({ ...child, end: await stopProcess(child) })))
    process.off('exit', endAll)
    // One that never listened was reported by start. The tenants die of the signal, as they may.
    const failed = ends.filter(({ name, listened, end }) => name === 'relevo' && listened && end !== 0)
    return failed.map(({ name, end }) => `${name} ended with ${end} instead of 0`)
  }

  return {
    start,
    stop,
    lastLines: () => children.flatMap(({ name, output }) => output.map((line) => `${name}: ${line}`)),
  }
}

async function stopProcess({ process: child, listened }: Child): Promise<number | NodeJS.Signals | null> {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    // Relevo obeys once its PostgreSQL has started: killed before, it would leave that.
    const deadlineMs = listened ? stopDeadlineMs : startDeadlineMs
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
    await exited
    clearTimeout(timer)
  }
  return child.exitCode ?? child.signalCode
}
