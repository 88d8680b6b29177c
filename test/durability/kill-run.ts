import { setTimeout as delay } from 'node:timers/promises'
import { eventually } from '../support/eventually.ts'
import { type Comparison, compare, createRig, type MetaLedger, type ToldOf, toldOf } from './rig.ts'

export interface KillReport extends Comparison, ToldOf {
  readonly kills: number
  readonly ledger: MetaLedger
  /** Of the process that was told to end after all kills. */
  readonly exitCode: number | string | null
}

/** At least so many exchanges are answered by each process before it is killed. */
export const answersBetweenKills = 10

/** Kills Relevo at random moments under load, then compares what Meta saw with the log. */
export async function killRun(databaseUrl: string, kills: number, rate: number): Promise<KillReport> {
  const { rig, first } = await createRig(databaseUrl)
  try {
    let relevo = first
    const enough = new AbortController()
    const loading = rig.load(rate, 3600, enough.signal)
    for (let kill = 0; kill < kills; kill++) {
      // Of a process that answers: a slow machine takes its time until one does.
      const answered = rig.answered()
      await eventually(() => rig.answered() >= answered + answersBetweenKills, { timeoutMs: 30_000 })
      await delay(Math.random() * 1500)
      relevo.child.kill('SIGKILL')
      await relevo.ended()
      relevo = await rig.start()
    }
    await delay(500)
    enough.abort()
    const ledger = await loading
    // A delivery whose process died is attempted again within 45 s: contract.md §4.
    const told = await toldOf(rig, ledger, 60_000)
    relevo.child.kill('SIGTERM')
    const exitCode = await relevo.ended()
    return { kills, ledger, exitCode, ...told, ...(await compare(databaseUrl, ledger)) }
  } finally {
    await rig.close()
  }
}

export function printKills({ kills, ledger, exitCode, ...log }: KillReport): void {
  const { sent, answered, summary } = ledger
  console.log(`SIGKILLs                  ${kills}`)
  console.log(
    `exchanges sent            ${sent.size}, of them answered ${answered.size} (p50 ${summary.latency.p50.toFixed(1)} ms)`,
  )
  console.log(`rows in the log           ${log.rows} ${JSON.stringify(log.outcomes)}`)
  console.log(`answered and not logged   ${log.lost}`)
  console.log(`logged twice, never sent  ${log.twice}, ${log.unknown}`)
  console.log(`answered and not told     ${log.untold}; told again ${log.toldAgain}`)
  console.log(`exit code after SIGTERM   ${exitCode}`)
}
