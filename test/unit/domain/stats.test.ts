import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Outcome } from '../../../src/domain/outcome.ts'
import { fallbackRate, spanEnd, spanMinutes, spanStart, spansOf } from '../../../src/domain/stats.ts'

const fiveMs = 300_000
const five = fc.integer({ min: 5_900_000, max: 5_910_000 }).map((n) => new Date(n * fiveMs))
const sizeMs = (minutes: number) => minutes * 60_000

describe('a time in spans', () => {
  it('is covered once, in order, by whole spans, at most five ranges of them', () => {
    fc.assert(
      fc.property(five, five, (a, b) => {
        const [since, until] = a < b ? [a, b] : [b, a]
        const ranges = spansOf(since, until)
        expect(ranges.length).toBeLessThanOrEqual(5)
        const ends = [since, ...ranges.map((range) => range.until)]
        expect(ranges.map((range) => range.since)).toEqual(ends.slice(0, -1))
        expect(ends.at(-1)).toEqual(until)
        for (const { minutes, ...range } of ranges) {
          expect(range.since < range.until).toBe(true)
          for (const at of [range.since, range.until]) expect(at.getTime() % sizeMs(minutes)).toBe(0)
        }
      }),
    )
  })

  it('has no two hours where a day would do, nor two fives where an hour would', () => {
    fc.assert(
      fc.property(five, five, (since, until) => {
        for (const { minutes, ...range } of spansOf(since, until)) {
          const larger = spanMinutes[spanMinutes.indexOf(minutes) + 1]
          if (larger !== undefined) expect(spanEnd(range.since, larger) >= spanStart(range.until, larger)).toBe(true)
        }
      }),
    )
  })

  it('backwards is nothing', () => {
    expect(spansOf(new Date(fiveMs * 2), new Date(fiveMs))).toEqual([])
    expect(spansOf(new Date(fiveMs), new Date(fiveMs))).toEqual([])
  })
})

it('a fallback rate is a share of what webhooks were to answer', () => {
  const rate = (counts: Partial<Record<Outcome, number>>) =>
    fallbackRate(new Map(Object.entries(counts) as [Outcome, number][]))
  expect(rate({})).toBeNull()
  expect(rate({ answered_locally: 5, repeated: 2, unknown_action: 1, undecryptable: 1 })).toBeNull()
  expect(rate({ replied: 2, token_refused: 1, timeout: 3, breaker_open: 2, answered_locally: 9 })).toBe(5 / 8)
})
