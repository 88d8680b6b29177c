import { afterEach, describe, expect, it } from 'vitest'
import { databaseRun } from '../durability/database-run.ts'
import { killRun } from '../durability/kill-run.ts'
import { createTestDatabase } from '../support/database.ts'
import { endProcesses } from '../support/process.ts'

// Short forms; `npm run soak:kill` and `npm run soak:database` are the long ones and print their figures.
afterEach(endProcesses)

const nothingWrong = { lost: 0, twice: 0, unknown: 0, untold: 0, exitCode: 0 }

// A slow machine takes its time to start and end processes and databases.
describe('under 100 exchanges a second', { timeout: 120_000 }, () => {
  it('3 SIGKILLs: every exchange that was answered is in the log, once', async () => {
    const database = await createTestDatabase()
    const report = await killRun(database.url, 3, 100)
    expect(report).toMatchObject({ kills: 3, ...nothingWrong })
    expect(report.ledger.answered.size).toBeGreaterThan(100)
    await database.drop()
  })

  it.each(['fast', 'immediate', 'stalled'] as const)(
    'PostgreSQL gone (%s): everyone gets the tenant’s reply, and every row comes later',
    async (ending) => {
      const report = await databaseRun(ending, 4, 100)
      const { sent, answered } = report.ledger
      expect(report).toMatchObject({ ...nothingWrong, rowsLost: 0, rows: sent.size, outcomes: { replied: sent.size } })
      expect(answered.size).toBe(sent.size)
      expect(report.mostSpooled).toBeGreaterThan(sent.size / 3)
    },
  )
})
