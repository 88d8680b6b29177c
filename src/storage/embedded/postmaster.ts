import { readFile, readlink, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, unlessCode } from '../data-dir.ts'
import { run } from './server-user.ts'

/** The server that runs on the cluster in `folder` (a real path), or undefined. */
export async function livePostmaster(folder: string): Promise<{ pid: number; port: number } | undefined> {
  const text = await readFile(join(folder, 'postmaster.pid'), 'utf8').catch(unlessCode('ENOENT'))
  const lines = text?.split('\n') ?? []
  // Negative while a single-user backend has the cluster.
  const pid = Math.abs(Number(lines[0]))
  return pid > 0 && (await isPostmaster(pid, folder)) ? { pid, port: Number(lines[3]) } : undefined
}

/**
 * Removes the pid file of a server that was killed. PostgreSQL does so itself unless the pid lives on as another process
 * of the same user. It still refuses to start while orphans of the old server are attached to its shared memory.
 */
export async function removeStalePidFile(folder: string): Promise<void> {
  if ((await livePostmaster(folder)) === undefined) await rm(join(folder, 'postmaster.pid'), { force: true })
}

/** A postmaster's working folder is its cluster: told apart from any process that got a dead one's pid. */
async function isPostmaster(pid: number, folder: string): Promise<boolean> {
  if (process.platform === 'linux') return (await workingFolder(pid, folder)) === folder
  const { output } = await run('/bin/ps', ['-p', String(pid), '-o', 'comm='], { name: '', ids: null })
  return output.includes('postgres')
}

async function workingFolder(pid: number, folder: string): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/cwd`)
  } catch (error) {
    if (codeOf(error) !== 'EACCES' || process.geteuid?.() !== 0) return ''
    // Root without CAP_SYS_PTRACE, as in most containers, cannot look; the user of the cluster can look at its own.
    const { uid, gid } = await stat(folder)
    const user = { name: `uid ${uid}`, ids: { uid, gid } }
    return (await run('/bin/sh', ['-c', 'cd "/proc/$1/cwd" && pwd -P', 'sh', String(pid)], user)).output
  }
}
