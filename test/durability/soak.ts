import { migrate } from '../../src/migrate.ts'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir, removeEmbedded } from '../support/embedded.ts'
import { endProcesses } from '../support/process.ts'
import { pin } from './cores.ts'
import { databaseRun, type Ending, printDatabase } from './database-run.ts'
import { aroundOpening, othersIn, printDeadTenant } from './dead-tenant-report.ts'
import { deadTenantRun } from './dead-tenant-run.ts'
import { eventsRun, printEvents } from './events-run.ts'
import { type FairnessReport, fairnessRun, printFairness } from './fairness-run.ts'
import { figuresOf } from './figures.ts'
import { killRun, printKills } from './kill-run.ts'
import { agreementOf, growing, growthOf, latenessOf, printMixed } from './mixed-report.ts'
import { mixedRun } from './mixed-run.ts'
import { overloadRun, percentile, perSecond, printOverload } from './overload-run.ts'
import { printRestarts, restartRun } from './restart-run.ts'
import { printRoles, rolesRun } from './roles-run.ts'
import { wearIn } from './worn-in.ts'

// The long forms of test/e2e/durability.test.ts and failing-tenants.test.ts: `npm run soak:kill [kills]`, `soak:database [seconds]`, `soak:events [seconds]`,
// `soak:fairness [waiting]` (of a webhook that hangs; `soak.ts fairness_answers`: that answers), `soak:restart [restarts]`,
// `soak:dead-tenant [seconds] [rate]`, `soak:mixed [seconds] [rate]` (rate: half of what the relay's core can do, if the other core bears it),
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
  async dead_tenant(databaseUrl) {
    const seconds = 30
    const segments = Math.max(5, Math.round(Number(given ?? 300) / seconds))
    const rate = Number(givenRate ?? 200)
    const plan = { tenants: 100, rate, seconds, segments, warmUpSeconds: seconds, timeoutMs: 700 }
    await wearIn(databaseUrl)
    const report = await deadTenantRun(databaseUrl, plan)
    printDeadTenant(report)
    const isUnharmed = othersIn(report, 'silent', 'unconnectable').p99 <= 1.2 * othersIn(report, 'without').p99
    const shielded = aroundOpening(report).after.filter(({ outcome }) => outcome === 'breaker_open')
    const isShielded = figuresOf(shielded.map(({ ms }) => ms)).p99 < 20
    return isUnharmed && isShielded && report.problems.size + report.notSent === 0 && report.exitCode === 0
  },
  async mixed(databaseUrl) {
    const seconds = Number(given ?? 1800)
    // Answers are kept for repetitions for ten minutes: before that what is outside the heap cannot but grow.
    const warmUpSeconds = seconds > 900 ? 620 : seconds / 2
    const lookEverySeconds = Math.max(1, Math.round(seconds / 60))
    const restEverySeconds = Math.max(20, seconds / 30)
    const looks = { lookEverySeconds, restEverySeconds, walksHeap: true }
    const plan = { seconds, warmUpSeconds, ...looks, breaker: 'on' as const }
    const report = await mixedRun(databaseUrl, { ...plan, rate: givenRate === undefined ? null : Number(givenRate) })
    printMixed(report)
    const { unexplained, lost, twice } = agreementOf(report)
    const isRight = unexplained.length + lost + twice + report.complaints.length + report.summary.problems.size === 0
    const { early, sealed } = latenessOf(report)
    const isInTime = early === 0 && sealed.p999 <= 25
    const { slope, standardError } = growthOf(report).heapMB
    const isHeapSteady = slope < 1 || (standardError < 1 && slope - 2 * standardError < 1)
    const isSteady = isHeapSteady && growing(report).length + report.idleAfter.sockets.tenant === 0
    return isRight && isInTime && isSteady && report.exitCode === 0
  },
  async roles(databaseUrl) {
    const report = await rolesRun(databaseUrl, Number(given ?? 25), true)
    printRoles(report)
    const { lost, twice, unknown, untold, ledger } = report
    return lost + twice + unknown + untold + ledger.summary.wrong === 0 && report.exits.every((code) => code === 0)
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
    const report = await databaseRun([ending], Number(given ?? 60), rate)
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
    endProcesses()
    await server.stop()
    await removeEmbedded(dataDir)
  }
}

const run = runs[what ?? '']
if (what === 'database') process.exitCode = (await databaseRuns()) ? 0 : 1
else if (run !== undefined) process.exitCode = (await onOwnDatabase(run)) ? 0 : 1
else {
  const [counted, timed] = [
    'kill [kills] | fairness [waiting] | restart [restarts]',
    'database | events | dead_tenant | mixed | overload',
  ]
  console.error(`soak.ts ${counted} | ${timed} [seconds], each with [rate] after it | roles [rate]`)
  process.exitCode = 2
}
