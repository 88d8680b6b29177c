import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Job, Maintenance } from '../../../src/maintenance/maintenance.ts'
import { createLog } from '../../../src/ops/logger.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { holdLease, releaseLease } from '../../../src/storage/leases.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { startProxy } from '../../support/tcp-proxy.ts'

let made: TestDatabase
const databases: Database[] = []

beforeEach(async () => {
  made = await createTestDatabase()
})
afterEach(async () => {
  await Promise.all(databases.splice(0).map((database) => database.close()))
  await made.drop()
})

function open(url = made.settings.url): Database {
  const database = openDatabase({ ...made.settings, url })
  databases.push(database)
  return database
}

/** A process of the house with one job that counts how often it ran. */
function candidate(database: Database, more: Partial<Job> = {}) {
  const lines: Record<string, unknown>[] = []
  const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  let runs = 0
  const job: Job = { name: 'count', everyMs: 20, run: async () => void runs++, ...more }
  const times = { leaseMs: 600, renewMs: 100, retryMs: 20 }
  const maintenance = new Maintenance({ database, log, jobs: [job], times })
  maintenance.start()
  return { maintenance, lines, runs: () => runs }
}

it('a lease has one holder, who can prolong it and give it back', async () => {
  const { work } = open()
  const taken = await Promise.all(['a', 'b', 'c'].map((holder) => holdLease(work, 'x', holder, 60)))
  expect(taken.filter((held) => held)).toHaveLength(1)
  const holder = ['a', 'b', 'c'][taken.indexOf(true)] ?? ''
  expect(await holdLease(work, 'x', holder, 60)).toBe(true)
  expect(await holdLease(work, 'x', 'd', 60)).toBe(false)
  expect(await holdLease(work, 'y', 'd', 60)).toBe(true)
  await releaseLease(work, 'x', 'd')
  expect(await holdLease(work, 'x', 'd', 60)).toBe(false)
  await releaseLease(work, 'x', holder)
  expect(await holdLease(work, 'x', 'd', 0)).toBe(true)
  // It has ended as soon as it was taken.
  expect(await holdLease(work, 'x', 'e', 60)).toBe(true)
})

it('one process does the jobs; the next takes over when it ends', async () => {
  const [first, second] = [candidate(open()), candidate(open())]
  await eventually(() => first.runs() + second.runs() > 5)
  const [elected, other] = first.runs() > 0 ? [first, second] : [second, first]
  expect(other.runs()).toBe(0)
  await elected.maintenance.close()
  const runs = elected.runs()
  await eventually(() => other.runs() > 5)
  expect(elected.runs()).toBe(runs)
  await other.maintenance.close()
})

it('a process that the database no longer hears is replaced after the lease, and stops before', async () => {
  const proxy = await startProxy(made.settings.url)
  const lost = candidate(open(proxy.url))
  await eventually(() => lost.runs() > 0)
  const next = candidate(open())
  proxy.freeze()
  await eventually(() => next.runs() > 0)
  const runs = lost.runs()
  await eventually(() => next.runs() > 5)
  expect(lost.runs()).toBe(runs)
  await proxy.close()
  await Promise.all([lost.maintenance.close(), next.maintenance.close()])
})

it('a job that fails is told of by its name alone, tried again, and holds up no other', async () => {
  let failures = 0
  const run = async () => {
    if (++failures < 3) throw new Error('a value that is nobody’s business')
  }
  const failing = candidate(open(), { name: 'failing', everyMs: 60_000, run })
  await eventually(() => failures === 3)
  const told = failing.lines.filter(({ level }) => level === 'warn')
  expect(told).toHaveLength(2)
  expect(told[0]).toMatchObject({ job: 'failing', msg: 'maintenance failed and is tried again' })
  expect(JSON.stringify(failing.lines)).not.toContain('nobody’s business')
  await failing.maintenance.close()
})

it('an end does not wait for a job that does not come to its end', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const hanging = candidate(open(), { run: () => promise })
  await eventually(() => hanging.lines.length > 0)
  const startedAt = performance.now()
  await hanging.maintenance.close()
  expect(performance.now() - startedAt).toBeLessThan(4000)
  resolve()
})
