import { growth, type Histogram, leastMs, percentile } from './histogram.ts'
import type { Outcome } from './outcome.ts'
import { fallbackRate, metaThresholds } from './stats.ts'

/** What the figures of a flow are judged by, each over the minutes that Meta judges it by (protocol.md 2.9). */
export const figures = ['p90Ms', 'errorRate', 'availability', 'fallbackRate'] as const
export type Figure = (typeof figures)[number]

interface Bound {
  readonly windowMinutes: 10 | 30
  /** From here on Meta's first alert is near. */
  readonly atRisk: number
  /** Where Meta alerts, mildest first; empty where it does not look. */
  readonly meta: readonly number[]
  /** Whether it is low values that are bad. */
  readonly isFloor: boolean
}

/** The alerts of deploy/prometheus, for one flow. A fallback is no error to Meta, but a person without an answer. */
export const bounds: Readonly<Record<Figure, Bound>> = {
  p90Ms: { windowMinutes: 30, atRisk: 800, meta: metaThresholds.p90Ms, isFloor: false },
  errorRate: { windowMinutes: 30, atRisk: 0.03, meta: metaThresholds.errorRate, isFloor: false },
  availability: { windowMinutes: 10, atRisk: 0.95, meta: [metaThresholds.availability], isFloor: true },
  fallbackRate: { windowMinutes: 30, atRisk: 0.03, meta: [], isFloor: false },
}

/** Worst last. `throttled` and `blocked`: what Meta has done already. */
export const verdicts = ['no_calls', 'ok', 'at_risk', 'over_threshold', 'throttled', 'blocked'] as const
export type Verdict = (typeof verdicts)[number]
export const checkResults = ['no_calls', 'ok', 'at_risk', 'over_threshold'] as const
export type CheckResult = (typeof checkResults)[number]

/** The calls of one window of time. */
export interface Calls {
  readonly outcomes: ReadonlyMap<Outcome, number>
  /** How long Meta waited; calls whose process died have no time. */
  readonly totals: Histogram
}

export interface Check {
  readonly figure: Figure
  readonly result: CheckResult
  /** Null without calls. */
  readonly value: number | null
}

/** Meta gives up then, ms: protocol.md 1.8. */
const metaWaitsMs = 10_000

/** Judges the last 10 and 30 minutes of calls. */
export function judge(last: Readonly<Record<10 | 30, Calls>>): Check[] {
  return figures.map((figure) => {
    const { windowMinutes, atRisk, meta, isFloor } = bounds[figure]
    const value = readFigure[figure](last[windowMinutes])
    const isBeyond = (bound: number | undefined) =>
      value !== null && bound !== undefined && (isFloor ? value < bound : value > bound)
    const result = isBeyond(meta[0]) ? 'over_threshold' : isBeyond(atRisk) ? 'at_risk' : 'ok'
    return { figure, value, result: value === null ? 'no_calls' : result }
  })
}

/** The worst of the checks, unless Meta has acted on the flow. `flowStatus`: as Meta told it last, null where it is not known. */
export function verdictOf(checks: readonly Check[], flowStatus: string | null): Verdict {
  if (flowStatus === 'BLOCKED') return 'blocked'
  if (flowStatus === 'THROTTLED') return 'throttled'
  return verdicts.findLast((verdict) => checks.some(({ result }) => result === verdict)) ?? 'no_calls'
}

const readFigure: Readonly<Record<Figure, (calls: Calls) => number | null>> = {
  p90Ms: ({ totals }) => percentile(totals, 0.9),
  errorRate: (calls) => share(unanswered(calls) + (calls.outcomes.get('undecryptable') ?? 0), calls),
  availability: (calls) => share(count(calls) - unanswered(calls), calls),
  fallbackRate: ({ outcomes }) => fallbackRate(outcomes),
}

/** Those that were answered too late, or not, because a process died. */
function unanswered(calls: Calls): number {
  let inTime = 0
  for (const [bucket, n] of calls.totals) if (leastMs * growth ** bucket < metaWaitsMs) inTime += n
  return Math.max(0, count(calls) - inTime)
}

function count({ outcomes }: Calls): number {
  return [...outcomes.values()].reduce((sum, n) => sum + n, 0)
}

function share(part: number, calls: Calls): number | null {
  const all = count(calls)
  return all === 0 ? null : part / all
}
