import { afterEach, describe, expect, it } from 'vitest'
import { databaseRun } from '../durability/database-run.ts'
import { eventsRun } from '../durability/events-run.ts'
import { fairnessRun } from '../durability/fairness-run.ts'
import { answersBetweenKills, killRun } from '../durability/kill-run.ts'
import { overloadRun } from '../durability/overload-run.ts'
import { restartRun } from '../durability/restart-run.ts'
import { createTestDatabase } from '../support/database.ts'
import { endProcesses } from '../support/process.ts'

// Short forms; `npm run soak:kill` and `npm run soak:database` are the long ones and print their figures.
afterEach(endProcesses)

const nothingWrong = { lost: 0, twice: 0, unknown: 0, untold: 0, exitCode: 0 }

// A slow machine takes its time to start and end processes and databases.
describe('under load', { timeout: 120_000 }, () => {
  it('2 SIGKILLs: every exchange that was answered is in the log, once', async () => {
    const database = await createTestDatabase()
    const report = await killRun(database.url, 2, 40)
    expect(report).toMatchObject({ kills: 2, ...nothingWrong })
    expect(report.ledger.answered.size).toBeGreaterThanOrEqual(2 * answersBetweenKills)
    await database.drop()
  })

  it('PostgreSQL gone (fast, immediate, stalled): everyone gets the tenant’s reply, and every row comes later', async () => {
    const [seconds, rate] = [4, 25]
    const report = await databaseRun(['fast', 'immediate', 'stalled'], seconds, rate)
    const { sent, answered, summary } = report.ledger
    expect(report).toMatchObject({ ...nothingWrong, rowsLost: 0, outcomes: { replied: answered.size } })
    // Where others want the processor too, a cold relay may have too much to do for a moment; nothing else comes between.
    const { replied = 0, overloaded = 0, ...others } = report.outcomes
    expect(others).toEqual({})
    expect(replied + overloaded + summary.lost).toBe(sent.size)
    expect(replied).toBeGreaterThan(sent.size / 2)
    expect(Math.min(...report.spooled)).toBeGreaterThan((seconds * rate) / 3)
  })
})

describe('three times as many exchanges as there is processor for', { timeout: 120_000 }, () => {
  it('every answer is a valid encrypted 200 and in the log, some at once, none before its deadline, and then all are served again', async () => {
    const database = await createTestDatabase()
    const { overload, after, earliestMs, unlogged, shedCounted, silences } = await overloadRun(database.url, 4, {
      settling: 3,
      byCpu: true,
    })
    expect([...overload.wrong, ...after.wrong]).toEqual([])
    expect({ lost: overload.lost, unlogged }).toEqual({ lost: 0, unlogged: 0 })
    expect(overload.replied).toBeGreaterThan(0)
    expect(overload.shed + overload.refused).toBeGreaterThan(0)
    expect(shedCounted).toBeGreaterThan(0)
    expect(silences.length).toBe(overload.timedOut)
    expect(earliestMs).toBeGreaterThanOrEqual(700)
    expect(after.replied).toBeGreaterThan(0)
    await database.drop()
  })
})

describe('asynchronous deliveries', { timeout: 120_000 }, () => {
  it('into 100 webhooks, one of which hangs: every event arrives at the others, verified, once', async () => {
    const database = await createTestDatabase()
    const report = await eventsRun(database.url, 200, 4)
    expect(report).toMatchObject({ expected: 8 * 99, arrived: 8 * 99, forged: 0, again: 0 })
    await database.drop()
  })

  it('new ones are told while thousands wait for another webhook', async () => {
    const database = await createTestDatabase()
    const { exchanges, told, p95 } = await fairnessRun(database.url, 5000, 'hangs', 3)
    expect(told).toBe(exchanges)
    // Those that wait are attempted 15 s apart, two at a time: whoever stood behind them would be here in hours.
    expect(p95).toBeLessThan(10_000)
    await database.drop()
  })

  it('of two processes that are told to end in turn, under load: no exchange fails and nothing is untold', async () => {
    const database = await createTestDatabase()
    const report = await restartRun(database.url, 2, 15)
    expect(report).toMatchObject({ lost: 0, twice: 0, untold: 0, badExits: 0 })
    const { answered, sent, summary } = report.ledger
    // All, but for what a relay that has just started cannot yet do beside others on its processor.
    expect(answered.size + summary.fallback).toBe(sent.size)
    expect(answered.size).toBeGreaterThan(sent.size / 2)
    await database.drop()
  })
})
