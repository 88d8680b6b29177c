import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { printReport } from './print.ts'
import { fuzz } from './run.ts'
import { targets } from './targets.ts'

/** The short form of `npm run fuzz`: half of it the same each time, half of it new. */
const cases = 2000
const seeds = [20_260_801, randomInt(2 ** 31 - 100)]

describe('bytes of others', () => {
  it.each(targets)('$name: end in nothing but what the contract names', { timeout: 120_000 }, async (kind) => {
    const database = await createTestDatabase()
    const report = await fuzz(kind, database, { cases: (cases * kind.share) / 100, seeds })
    printReport(report)
    expect(report.findings).toEqual([])
    expect(report.cases).toBeGreaterThanOrEqual((cases * kind.share) / 100)
    await database.drop()
  })
})
