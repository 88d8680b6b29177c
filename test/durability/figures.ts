import { percentile } from '../../src/simulator/load.ts'

export interface Figures {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** Nearest rank; zeros for none. */
export function figuresOf(values: readonly number[]): Figures {
  const sorted = Float64Array.from(values).sort()
  return {
    count: sorted.length,
    p50: percentile(sorted, 50),
    p99: percentile(sorted, 99),
    p999: percentile(sorted, 99.9),
    max: sorted.at(-1) ?? 0,
  }
}

export interface Slope {
  readonly slope: number
  readonly standardError: number
}

/** The straight line of least squares through points `[x, y]`: its rise per x, and the standard error of that. NaN for fewer than three. */
export function slopeOf(points: readonly (readonly [number, number])[]): Slope {
  if (points.length < 3) return { slope: Number.NaN, standardError: Number.NaN }
  const mean = (at: 0 | 1) => points.reduce((sum, point) => sum + point[at], 0) / points.length
  const [meanX, meanY] = [mean(0), mean(1)]
  const sum = (of: (x: number, y: number) => number) =>
    points.reduce((total, [x, y]) => total + of(x - meanX, y - meanY), 0)
  const spread = sum((x) => x * x)
  const slope = sum((x, y) => x * y) / spread
  const residual = sum((x, y) => (y - slope * x) ** 2) / (points.length - 2)
  return { slope, standardError: Math.sqrt(residual / spread) }
}

export function countBy<T>(items: Iterable<T>, nameOf: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const item of items) counts[nameOf(item)] = (counts[nameOf(item)] ?? 0) + 1
  return counts
}
