import { migrate } from '../../src/migrate.ts'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir, removeEmbedded } from '../support/embedded.ts'
import { databaseRun, type Ending, printDatabase } from './database-run.ts'
import { killRun, printKills } from './kill-run.ts'

// The long forms of test/e2e/durability.test.ts: `npm run soak:kill [kills]`, `npm run soak:database [seconds]`.
const rate = 100
const [what, given] = process.argv.slice(2)

if (what === 'kill') {
  const dataDir = await freshDataDir()
  const server = await startEmbedded({ dataDir })
  try {
    await migrate(server.url)
    const report = await killRun(server.url, Number(given ?? 50), rate)
    printKills(report)
    if (report.lost + report.twice + report.unknown > 0 || report.exitCode !== 0) process.exitCode = 1
  } finally {
    await server.stop()
    await removeEmbedded(dataDir)
  }
} else if (what === 'database') {
  for (const ending of ['fast', 'immediate', 'stalled'] satisfies Ending[]) {
    const report = await databaseRun(ending, Number(given ?? 60), rate)
    printDatabase(report)
    const { lost, twice, unknown, rowsLost, exitCode, ledger } = report
    const isAllAnswered = ledger.answered.size === ledger.sent.size
    if (lost + twice + unknown + rowsLost > 0 || exitCode !== 0 || !isAllAnswered) process.exitCode = 1
  }
} else {
  console.error('soak.ts kill [kills] | database [seconds]')
  process.exitCode = 2
}
