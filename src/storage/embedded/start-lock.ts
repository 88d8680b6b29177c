import { randomBytes } from 'node:crypto'
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { unlessCode } from '../data-dir.ts'

const oldGuardMs = 5000

/** A lock that is held. */
export interface StartLock {
  release(): Promise<void>
}

/**
 * Takes the lock that lets one process at a time start or stop the server of a DATA_DIR, waiting up to `waitMs` for
 * another holder; undefined when it did not let go. The lock of a process that died is broken.
 *
 * The file appears whole (link of a finished one) and holds `pid birth token`; `birth` tells a holder from a later
 * process with the same pid, as after each restart of a container.
 */
export async function takeLock(file: string, waitMs: number): Promise<StartLock | undefined> {
  const deadline = Date.now() + waitMs
  const mine = `${process.pid} ${(await birthOf(process.pid)) ?? '-'} ${randomBytes(6).toString('hex')}`
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  try {
    await writeFile(draft, mine, { mode: 0o600, flag: 'wx' })
    for (;;) {
      if (await linked(draft, file)) return { release: () => releaseLock(file, mine) }
      const holder = await readText(file)
      if (holder !== undefined && !(await lives(holder))) await breakLock(file, holder, draft)
      else if (Date.now() >= deadline) return undefined
      else await delay(20)
    }
  } finally {
    await rm(draft, { force: true })
  }
}

async function releaseLock(file: string, mine: string): Promise<void> {
  if ((await readText(file)) === mine) await rm(file, { force: true })
}

/**
 * Removes a dead holder's lock, one process at a time: it is looked at again under a guard, so that nobody takes away a lock
 * that is live by now. A guard left by a process that died in these few milliseconds is removed when it is old.
 */
async function breakLock(file: string, holder: string, draft: string): Promise<void> {
  const guard = `${file}.break`
  if (!(await linked(draft, guard))) {
    const left = await stat(guard).catch(unlessCode('ENOENT'))
    // ctime: of the link, not of the draft.
    if (left !== undefined && Date.now() - left.ctimeMs > oldGuardMs) await rm(guard, { force: true })
    await delay(5)
    return
  }
  try {
    if ((await readText(file)) === holder) await rm(file, { force: true })
  } finally {
    await rm(guard, { force: true })
  }
}

async function lives(holder: string): Promise<boolean> {
  const [pid, birth] = holder.split(' ')
  return birth !== undefined && (await birthOf(Number(pid))) === birth
}

/** What tells a living process from all others that had its pid; undefined when it is dead. Without /proc: a constant. */
async function birthOf(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return runs(pid) ? 'alive' : undefined
  const boot = (await readText('/proc/sys/kernel/random/boot_id')) ?? ''
  const [state, ...rest] = ((await readText(`/proc/${pid}/stat`)) ?? '').split(') ').at(-1)?.split(' ') ?? []
  // proc_pid_stat(5): field 3 is the state (zombies are dead to us), field 22 the start in ticks since boot.
  return state === undefined || state === '' || 'ZX'.includes(state) ? undefined : `${boot.trim()}:${rest[18]}`
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    unlessCode('EEXIST')(error)
    return false
  }
}

function readText(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch(unlessCode('ENOENT', 'ESRCH'))
}
