import { afterEach, expect, it } from 'vitest'
import { printRoles, rolesRun } from '../durability/roles-run.ts'
import { createTestDatabase } from '../support/database.ts'
import { endProcesses } from '../support/process.ts'

// `npm run soak:roles` is the same with a rate of one's own.
afterEach(endProcesses)

it('two relays, one of them of two processes, an api and a worker: each is killed, nothing is lost and nothing answered wrongly', async () => {
  const database = await createTestDatabase()
  const report = await rolesRun(database.url, 25)
  printRoles(report)
  const [relay, api] = [
    [405, 403],
    [401, 200],
  ]
  expect(report.statuses).toEqual([
    [404, 404, ...api, 200],
    [...relay, 404, 404, 200],
    [...relay, 404, 404, 200],
    [404, 404, 404, 404, 200],
  ])
  expect(report).toMatchObject({ kills: 5, lost: 0, twice: 0, unknown: 0, untold: 0 })
  const { summary, answered, sent } = report.ledger
  expect(summary.wrong).toBe(0)
  // What was under way when its relay was killed has no answer; a relay that has just started may have too much to do.
  expect(answered.size + summary.fallback + summary.lost).toBe(sent.size)
  expect(answered.size).toBeGreaterThan(sent.size / 2)
  expect(report.shared).toEqual({ served: 2, uncounted: 0, restarts: 1, fell: 0 })
  expect(report.exits).toEqual([0, 0, 0, 0])
  // The deadline, 5 s for what is in flight, 9 s for rows: contract.md §8.
  expect(report.endMs).toBeLessThan(30_000)
  expect(report.orphans).toBe(0)
  await database.drop()
}, 180_000)
