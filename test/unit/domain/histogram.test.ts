import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { growth, leastMs, merged, percentile } from '../../../src/domain/histogram.ts'

/** As src/storage/stats-cells.ts has it in SQL. */
const bucketOf = (ms: number) => Math.floor(Math.log(Math.max(ms, leastMs) / leastMs) / Math.log(growth))

function histogramOf(values: readonly number[]): Map<number, number> {
  const histogram = new Map<number, number>()
  for (const value of values) histogram.set(bucketOf(value), (histogram.get(bucketOf(value)) ?? 0) + 1)
  return histogram
}

const exact = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN

const ms = fc.double({ min: leastMs, max: 20_000, noNaN: true })
const shares = fc.constantFrom(0.01, 0.5, 0.9, 0.95, 0.99, 1)

describe('a percentile of a histogram', () => {
  it('is that of its values within 1 %', () => {
    fc.assert(
      fc.property(fc.array(ms, { minLength: 1, maxLength: 300 }), shares, (values, share) => {
        const [told, wanted] = [percentile(histogramOf(values), share) ?? 0, exact(values, share)]
        expect(Math.abs(told - wanted)).toBeLessThanOrEqual(wanted * 0.01 + 1e-9)
      }),
    )
  })

  it('does not depend on how the values came together', () => {
    const parts = fc.array(fc.array(ms, { maxLength: 50 }), { maxLength: 6 })
    fc.assert(
      fc.property(parts, shares, (values, share) => {
        expect(percentile(merged(values.map(histogramOf)), share)).toBe(percentile(histogramOf(values.flat()), share))
      }),
    )
  })

  it('is null of nothing, and takes what is shorter than it can tell for the shortest', () => {
    expect(percentile(new Map(), 0.5)).toBeNull()
    expect(percentile(new Map([[7, 0]]), 0.5)).toBeNull()
    expect(percentile(histogramOf([0, 0.001]), 0.5)).toBeCloseTo(leastMs, 3)
  })
})
