import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { growth, leastMs } from '../../../src/domain/histogram.ts'
import type { Outcome } from '../../../src/domain/outcome.ts'
import { type Calls, judge, verdictOf, verdicts } from '../../../src/domain/verdict.ts'

const bucketOf = (ms: number) => Math.floor(Math.log(ms / leastMs) / Math.log(growth))
const calls = (outcomes: Partial<Record<Outcome, number>>, times: Record<number, number>): Calls => ({
  outcomes: new Map(Object.entries(outcomes) as [Outcome, number][]),
  totals: new Map(Object.entries(times).map(([ms, n]) => [bucketOf(Number(ms)), n])),
})
const results = (of: Calls) => Object.fromEntries(judge({ 10: of, 30: of }).map((one) => [one.figure, one.result]))
const verdict = (of: Calls, status: string | null = null) => verdictOf(judge({ 10: of, 30: of }), status)
const fine = { p90Ms: 'ok', errorRate: 'ok', availability: 'ok', fallbackRate: 'ok' }

describe('a verdict', () => {
  it('is none without calls, unless Meta has acted', () => {
    expect(verdict(calls({}, {}))).toBe('no_calls')
    expect(verdict(calls({}, {}), 'PUBLISHED')).toBe('no_calls')
    expect(verdict(calls({}, {}), 'THROTTLED')).toBe('throttled')
    expect(verdict(calls({ replied: 1 }, { 20: 1 }), 'BLOCKED')).toBe('blocked')
  })

  it.each<[string, Calls, object]>([
    ['quick answers', calls({ replied: 100 }, { 100: 100 }), {}],
    ['a tenth is slow', calls({ replied: 100 }, { 100: 90, 9000: 10 }), {}],
    ['more than a tenth takes 0.9 s', calls({ replied: 100 }, { 100: 89, 900: 11 }), { p90Ms: 'at_risk' }],
    ['more than a tenth takes 2 s', calls({ replied: 100 }, { 100: 89, 2000: 11 }), { p90Ms: 'over_threshold' }],
    ['3 % did not decrypt', calls({ replied: 97, undecryptable: 3 }, { 100: 100 }), {}],
    ['4 % did not decrypt', calls({ replied: 96, undecryptable: 4 }, { 100: 100 }), { errorRate: 'at_risk' }],
    ['6 % did not decrypt', calls({ replied: 94, undecryptable: 6 }, { 100: 100 }), { errorRate: 'over_threshold' }],
    [
      '4 % came after Meta had given up',
      calls({ replied: 100 }, { 100: 96, 10500: 4 }),
      { errorRate: 'at_risk', availability: 'ok' },
    ],
    [
      '7 % have no time: their process died',
      calls({ replied: 93, internal_error: 7 }, { 100: 93 }),
      { errorRate: 'over_threshold', availability: 'at_risk', fallbackRate: 'at_risk' },
    ],
    [
      '12 % have none',
      calls({ replied: 88, internal_error: 12 }, { 100: 88 }),
      { errorRate: 'over_threshold', availability: 'over_threshold', fallbackRate: 'at_risk' },
    ],
    ['all are fallbacks', calls({ timeout: 100 }, { 700: 100 }), { fallbackRate: 'at_risk' }],
  ])('%s', (_name, of, expected) => {
    expect(results(of)).toEqual({ ...fine, ...expected })
  })

  it('looks at 10 minutes for availability and at 30 for the rest', () => {
    const [good, dead] = [calls({ replied: 100 }, { 100: 100 }), calls({ internal_error: 10 }, {})]
    const of = judge({ 10: dead, 30: good })
    expect(of.map(({ result }) => result)).toEqual(['ok', 'ok', 'over_threshold', 'ok'])
  })

  it('is the worst of its checks', () => {
    const n = fc.integer({ min: 0, max: 100 })
    fc.assert(
      fc.property(n, n, n, n, (replied, timeout, undecryptable, lost) => {
        const all = calls(
          { replied, timeout, undecryptable, internal_error: lost },
          { 50: replied + timeout + undecryptable },
        )
        const checks = judge({ 10: all, 30: all })
        const worst = Math.max(...checks.map(({ result }) => verdicts.indexOf(result)))
        expect(verdictOf(checks, null)).toBe(verdicts[worst])
      }),
    )
  })
})
