import { migrate } from '../../src/migrate.ts'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir, removeEmbedded } from '../support/embedded.ts'
import { pin } from './cores.ts'
import { databaseRun, type Ending, printDatabase } from './database-run.ts'
import { eventsRun, printEvents } from './events-run.ts'
import { type FairnessReport, fairnessRun, printFairness } from './fairness-run.ts'
import { killRun, printKills } from './kill-run.ts'
import { overloadRun, percentile, perSecond, printOverload } from './overload-run.ts'
import { printRestarts, restartRun } from './restart-run.ts'

// The long forms of test/e2e/durability.test.ts: `npm run soak:kill [kills]`, `soak:database [seconds]`, `soak:events [seconds]`,
// `soak:fairness [waiting]` (of a webhook that hangs; `soak.ts fairness_answers`: that answers), `soak:restart [restarts]`,
// `soak:overload [seconds]`.
const [what, given, givenRate] = process.argv.slice(2)
/** Exchanges a second; a machine on which that is more than a core can do wants less. */
const rate = Number(givenRate ?? 100)
pin(process.pid, 1)

/** True: everything was as it should be. */
const runs: Readonly<Record<string, (databaseUrl: string) => Promise<boolean>>> = {
  async kill(databaseUrl) {
    const report = await killRun(databaseUrl, Number(given ?? 50), rate)
    printKills(report)
    return report.lost + report.twice + report.unknown + report.untold === 0 && report.exitCode === 0
  },
  async events(databaseUrl) {
    const report = await eventsRun(databaseUrl, rate * 10, Number(given ?? 120))
    printEvents(report)
    const { expected, arrived, forged, again, p95 } = report
    return arrived === expected && forged === 0 && again < expected / 1000 && p95 < 1000
  },
  fairness: (databaseUrl) => fairness(databaseUrl, 'hangs'),
  fairness_answers: (databaseUrl) => fairness(databaseUrl, 'answers'),
  async overload(databaseUrl) {
    const report = await overloadRun(databaseUrl, Number(given ?? 60))
    printOverload(report)
    const { capacity, overload, after } = report
    const wrong = overload.wrong.size + after.wrong.size + overload.lost + report.unlogged
    const isFast = percentile(overload.latencies, 0.99) < 1500 && report.recoverySeconds < 5
    return wrong === 0 && isFast && perSecond(overload) >= 0.8 * perSecond(capacity)
  },
  async restart(databaseUrl) {
    const report = await restartRun(databaseUrl, Number(given ?? 20), rate)
    printRestarts(report)
    const isAllAnswered = report.ledger.answered.size === report.ledger.sent.size
    return isAllAnswered && report.lost + report.twice + report.untold + report.badExits === 0
  },
}

async function fairness(databaseUrl: string, backlogged: FairnessReport['backlogged']): Promise<boolean> {
  const report = await fairnessRun(databaseUrl, Number(given ?? 100_000), backlogged, 15)
  printFairness(report)
  return report.told === report.exchanges && report.p95 < 1000
}

async function databaseRuns(): Promise<boolean> {
  let isRight = true
  for (const ending of ['fast', 'immediate', 'stalled'] satisfies Ending[]) {
    const report = await databaseRun(ending, Number(given ?? 60), rate)
    printDatabase(report)
    const { lost, twice, unknown, untold, rowsLost, exitCode, ledger } = report
    const isAllAnswered = ledger.answered.size === ledger.sent.size
    if (lost + twice + unknown + untold + rowsLost > 0 || exitCode !== 0 || !isAllAnswered) isRight = false
  }
  return isRight
}

async function onOwnDatabase(run: (databaseUrl: string) => Promise<boolean>): Promise<boolean> {
  const dataDir = await freshDataDir()
  const server = await startEmbedded({ dataDir })
  try {
    await migrate(server.url)
    return await run(server.url)
  } finally {
    await server.stop()
    await removeEmbedded(dataDir)
  }
}

const run = runs[what ?? '']
if (what === 'database') process.exitCode = (await databaseRuns()) ? 0 : 1
else if (run !== undefined) process.exitCode = (await onOwnDatabase(run)) ? 0 : 1
else {
  console.error(
    'soak.ts kill [kills] | database [seconds] | events [seconds] | fairness [waiting] | restart [restarts] | overload [seconds]',
  )
  process.exitCode = 2
}
