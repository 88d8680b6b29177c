import { setTimeout as delay } from 'node:timers/promises'
import { type Comparison, compare, createRig, type MetaLedger, type ToldOf, toldOf } from './rig.ts'

export interface RestartReport extends Comparison, ToldOf {
  readonly restarts: number
  readonly ledger: MetaLedger
  /** Calls that the balancer gave to the other process, because the first did not take them. */
  readonly passedOn: number
  /** Other than 0, of the processes that were told to end. */
  readonly badExits: number
}

/** Two Relevos behind a load balancer, each told to end and started again in turn, under load. */
export async function restartRun(databaseUrl: string, restarts: number, rate: number): Promise<RestartReport> {
  const { rig, first } = await createRig(databaseUrl, [{}, {}])
  try {
    const running = [first, await rig.start(1)]
    const enough = new AbortController()
    const loading = rig.load(rate, 3600, enough.signal)
    let badExits = 0
    const end = async (at: number) => {
      running[at]?.child.kill('SIGTERM')
      if ((await running[at]?.ended()) !== 0) badExits++
    }
    for (let restart = 0; restart < restarts; restart++) {
      await delay(500)
      await end(restart % 2)
      running[restart % 2] = await rig.start(restart % 2)
    }
    await delay(500)
    enough.abort()
    const ledger = await loading
    const told = await toldOf(rig, ledger, 60_000)
    await Promise.all([end(0), end(1)])
    return { restarts, ledger, passedOn: rig.passedOn(), badExits, ...told, ...(await compare(databaseUrl, ledger)) }
  } finally {
    await rig.close()
  }
}

export function printRestarts({ restarts, ledger, passedOn, badExits, ...log }: RestartReport): void {
  const { sent, answered, summary } = ledger
  console.log(`restarts (SIGTERM)        ${restarts}, with another exit code than 0: ${badExits}`)
  console.log(
    `exchanges sent            ${sent.size}, answered with the tenant's reply ${answered.size}, passed on ${passedOn}`,
  )
  console.log(
    `latency p50, p99, max     ${summary.latency.p50.toFixed(1)}, ${summary.latency.p99.toFixed(1)}, ${summary.latency.max.toFixed(1)} ms`,
  )
  console.log(`rows in the log           ${log.rows} ${JSON.stringify(log.outcomes)}`)
  console.log(`answered and not logged   ${log.lost}; logged twice ${log.twice}`)
  console.log(`answered and not told     ${log.untold}; told again ${log.toldAgain}`)
  for (const [problem, count] of summary.problems) console.log(`problem                   ${count} × ${problem}`)
}
