import { afterEach, describe, expect, it } from 'vitest'
import { aroundOpening } from '../durability/dead-tenant-report.ts'
import { deadTenantRun } from '../durability/dead-tenant-run.ts'
import { failingWayNames } from '../durability/failing-tenant.ts'
import { figuresOf } from '../durability/figures.ts'
import { agreementOf, latenessOf } from '../durability/mixed-report.ts'
import { mixedRun } from '../durability/mixed-run.ts'
import { createTestDatabase } from '../support/database.ts'
import { endProcesses } from '../support/process.ts'

// Short forms; `npm run soak:dead-tenant` and `npm run soak:mixed` are the long ones and print their figures.
afterEach(endProcesses)

describe('one tenant of ten that takes requests and never answers', { timeout: 120_000 }, () => {
  it('harms no other, and its own users do not wait once the breaker has opened', async () => {
    const database = await createTestDatabase()
    const plan = { tenants: 10, rate: 15, seconds: 4, segments: 2, warmUpSeconds: 0, timeoutMs: 8000 }
    const report = await deadTenantRun(database.url, plan)
    expect(report.segments.map(({ state, others }) => [state, others.length])).toEqual([
      ['without', 60],
      ['silent', 60],
    ])
    expect(report).toMatchObject({ problems: new Map(), notSent: 0, exitCode: 0 })
    expect(report.dead).toHaveLength(60)
    const { before, after } = aroundOpening(report)
    const waitsOf = (outcome: string) =>
      [...before, ...after].filter((call) => call.outcome === outcome).map(({ ms }) => ms)
    expect(before.filter(({ outcome }) => outcome !== 'timeout' && outcome !== 'overloaded')).toEqual([])
    // One probe at most: the breaker stays open for 5 s.
    expect(after.filter(({ outcome }) => outcome !== 'breaker_open')).toEqual([])
    expect(after.length).toBeGreaterThan(0)
    expect(figuresOf(waitsOf('breaker_open')).p50).toBeLessThan(figuresOf(waitsOf('timeout')).p50)
    await database.drop()
  })
})

describe('a tenant of whose calls three tenths fail, each in another way', { timeout: 120_000 }, () => {
  it('gets every exchange answered and named, and leaves nothing behind', async () => {
    const database = await createTestDatabase()
    const plan = {
      rate: 12,
      seconds: 6,
      warmUpSeconds: 0,
      lookEverySeconds: 3,
      restEverySeconds: null,
      walksHeap: false,
      breaker: 'off',
    } as const
    const report = await mixedRun(database.url, plan)
    expect([...report.statuses]).toEqual([[200, 72]])
    expect(report.summary.problems).toEqual(new Map())
    expect(new Set([...report.deeds.values()].map(({ deed }) => deed))).toEqual(
      new Set(['replied', ...failingWayNames]),
    )
    expect(agreementOf(report)).toMatchObject({ unexplained: [], lost: 0, twice: 0 })
    expect(latenessOf(report).early).toBe(0)
    expect(report.exitCode).toBe(0)
    // A slow machine's database may take longer than 200 ms.
    expect(report.complaints.filter((line) => !line.includes('the database takes no rows'))).toEqual([])
    const { idleBefore, idleAfter } = report
    expect(idleAfter.sockets).toMatchObject({ tenant: 0, others: 0 })
    // Meta's are our own calls of the API; an observer may be told again just then.
    expect(idleAfter.sockets.meta).toBeLessThan(5)
    expect(idleAfter.timers - idleBefore.timers).toBeLessThan(20)
    expect(idleAfter.listeners - idleBefore.listeners).toBeLessThan(150)
    await database.drop()
  })
})
