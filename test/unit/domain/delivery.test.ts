import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type DeliveryHealth,
  type DeliveryResult,
  healthAfter,
  healthy,
  nextAttemptAt,
  readRetryAfter,
} from '../../../src/domain/delivery.ts'

const start = Date.UTC(2030, 0, 1)
const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
/** contract.md §4, written down a second time. */
const schedule = [5000, 30_000, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour]

describe('the schedule', () => {
  it('over any sequence of failures keeps to the contract: 10 pauses, each give or take a fifth, longer if asked for', () => {
    const failure = fc.record({
      random: fc.double({ min: 0, max: 1, noNaN: true }),
      retryAfterMs: fc.option(fc.nat({ max: 3 * day })),
      tookMs: fc.nat({ max: 15_000 }),
    })
    fc.assert(
      fc.property(fc.array(failure, { minLength: 1, maxLength: 14 }), (failures) => {
        let clock = start
        for (const [index, { random, retryAfterMs, tookMs }] of failures.entries()) {
          clock += tookMs
          const due = nextAttemptAt(index + 1, new Date(clock), retryAfterMs, random)
          const pause = schedule[index]
          if (pause === undefined) {
            expect(due).toBeNull()
            return
          }
          const waited = (due?.getTime() ?? Number.NaN) - clock
          const asked = Math.min(retryAfterMs ?? 0, day)
          expect(waited).toBeGreaterThanOrEqual(Math.max(Math.floor(pause * 0.8), asked))
          expect(waited).toBeLessThanOrEqual(Math.max(Math.ceil(pause * 1.2), asked))
          clock += waited
        }
      }),
      { numRuns: 10_000 },
    )
  })

  it('uses the whole of the jitter', () => {
    const waits = [0, 0.5, 1].map((random) => (nextAttemptAt(1, new Date(start), null, random)?.getTime() ?? 0) - start)
    expect(waits).toEqual([4000, 5000, 6000])
  })
})

describe('Retry-After', () => {
  const now = new Date(Date.UTC(2030, 0, 1, 12, 0, 0))
  it.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['Tue, 01 Jan 2030 12:00:30 GMT', 30_000],
    ['Tuesday, 01-Jan-30 12:00:30 GMT', 30_000],
    ['Tue, 01 Jan 2030 11:00:00 GMT', 0],
    ['-5', null],
    ['1.5', null],
    ['soon', null],
    ['', null],
    ['99999999999999999999', 1e23],
    ['2030-01-01', null],
  ])('%j asks for %s ms', (header, expected) => {
    expect(readRetryAfter(header, now)).toBe(expected)
  })

  it('never is negative or no number, whatever a webhook sends', () => {
    const header = fc.oneof(
      fc.string(),
      fc.date().map((date) => date.toUTCString()),
      fc.integer().map(String),
    )
    fc.assert(
      fc.property(header, (text) => {
        const asked = readRetryAfter(text, now)
        expect(asked === null || (Number.isFinite(asked) && asked >= 0)).toBe(true)
      }),
      { numRuns: 10_000 },
    )
    expect(readRetryAfter(null, now)).toBeNull()
  })
})

/** The contract's words for it, by looking back over all that happened. */
class Model {
  #events: { at: number; result: DeliveryResult }[] = []
  disabledAt: number | null = null
  warnings = 0
  #warnedSince: number | null = null

  step(result: DeliveryResult, at: number): 'warn' | 'disable' | null {
    if (this.disabledAt !== null) return null
    this.#events.push({ at, result })
    if (result === 'neutral' || result === 'success') return null
    const since = this.failingSince
    if (since === null) throw new Error('a failure and nobody fails')
    if (result === 'gone' || at - since >= 5 * day) {
      this.disabledAt = at
      return 'disable'
    }
    if (at - since < day || this.#warnedSince === since) return null
    this.#warnedSince = since
    this.warnings++
    return 'warn'
  }

  /** The first failure after the last success. */
  get failingSince(): number | null {
    const lastSuccess = this.#events.findLastIndex(({ result }) => result === 'success')
    const failures = this.#events.slice(lastSuccess + 1).filter(({ result }) => result !== 'neutral')
    return failures[0]?.at ?? null
  }
}

describe('a webhook’s health', () => {
  it('over any sequence of results is what the model says: warned of once at a day, stopped at 5 days or 410', () => {
    const result = fc.constantFrom<DeliveryResult>(
      'failure',
      'failure',
      'failure',
      'failure',
      'success',
      'neutral',
      'gone',
    )
    const step = fc.record({ result, laterMs: fc.oneof(fc.nat({ max: hour }), fc.nat({ max: 2 * day })) })
    let [stopped, warned] = [0, 0]
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const model = new Model()
        let health: DeliveryHealth = healthy
        let clock = start
        for (const { result, laterMs } of steps) {
          clock += laterMs
          const after = healthAfter(health, result, new Date(clock))
          health = after.health
          expect(after.change).toBe(model.step(result, clock))
          expect(health.deliveriesDisabledAt?.getTime() ?? null).toBe(model.disabledAt)
          expect(health.failingSince?.getTime() ?? null).toBe(model.failingSince)
        }
        if (model.disabledAt !== null) stopped++
        warned += model.warnings
      }),
      { numRuns: 10_000 },
    )
    // The sequences get there.
    expect(Math.min(stopped, warned)).toBeGreaterThan(500)
  })
})
