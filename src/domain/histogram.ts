/**
 * Milliseconds are counted in buckets that grow by 2 % each, so that a percentile is told within 1 %, whatever its size. Bucket n
 * begins at `leastMs` · `growth`^n; what is shorter than `leastMs` is in bucket 0.
 */
export const leastMs = 0.01
export const growth = 1.02

/** How many values lie in each bucket. */
export type Histogram = ReadonlyMap<number, number>

/** The value that a share of all are not above (nearest rank), within 1 %; null for an empty histogram. `share`: over 0, up to 1. */
export function percentile(histogram: Histogram, share: number): number | null {
  const buckets = [...histogram].filter(([, count]) => count > 0).toSorted(([a], [b]) => a - b)
  const total = buckets.reduce((sum, [, count]) => sum + count, 0)
  let left = Math.ceil(total * share)
  for (const [bucket, count] of buckets) {
    left -= count
    if (left <= 0) return middleOf(bucket)
  }
  return null
}

/** All values of several histograms. */
export function merged(histograms: Iterable<Histogram>): Histogram {
  const sum = new Map<number, number>()
  for (const histogram of histograms) {
    for (const [bucket, count] of histogram) sum.set(bucket, (sum.get(bucket) ?? 0) + count)
  }
  return sum
}

/** As far from one end of the bucket as from the other, in per cent. */
function middleOf(bucket: number): number {
  return leastMs * growth ** (bucket + 0.5)
}
