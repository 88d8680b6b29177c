import { execFileSync } from 'node:child_process'
import { cpus } from 'node:os'

/** Keeps a process, its threads and what it starts from now on to one core. Where that cannot be (no taskset, one core) nothing happens. */
export function pin(pid: number, core: 0 | 1): void {
  // Not `availableParallelism`: that is 1 for a process which is itself kept to one.
  if (cpus().length < 2) return
  try {
    execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' })
  } catch {
    console.log('taskset is not there: nothing is kept to its core')
  }
}

/** Returns how busy the first two cores were since the call, whoever kept them busy: shares of 1. */
export function watchCores(): () => readonly number[] {
  const before = cpus()
  return () =>
    cpus()
      .slice(0, 2)
      .map(({ times }, core) => {
        const spent = (name: keyof typeof times) => times[name] - (before[core]?.times[name] ?? 0)
        const idle = spent('idle')
        return 1 - idle / (spent('user') + spent('nice') + spent('sys') + spent('irq') + idle)
      })
}
