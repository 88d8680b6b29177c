import { type Outcome, outcomes } from './outcome.ts'

/** Meta's alerts for flows with an endpoint, each by its three levels (protocol.md 1.8 and 2.9). */
export const metaThresholds = {
  /** p90 of an endpoint's latency over 30 min, ms. */
  p90Ms: [1000, 5000, 7000],
  /** Share of an endpoint's answers that were errors, over 30 min. */
  errorRate: [0.05, 0.1, 0.5],
  /** Share of calls that were answered at all, over 10 min; below it Meta alerts. */
  availability: 0.9,
}

/** What exchanges are rolled up by, finest first, minutes. Each is whole times the one before. */
export const spanMinutes = [5, 60, 1440] as const
export type SpanMinutes = (typeof spanMinutes)[number]

const minuteMs = 60_000

export function spanStart(at: Date, minutes: SpanMinutes): Date {
  const ms = minutes * minuteMs
  return new Date(Math.floor(at.getTime() / ms) * ms)
}

/** The time itself where a span begins, else the beginning of the next. */
export function spanEnd(at: Date, minutes: SpanMinutes): Date {
  const ms = minutes * minuteMs
  return new Date(Math.ceil(at.getTime() / ms) * ms)
}

/** Spans of one length on end: from `since` up to, without it, `until`. */
export interface SpanRange {
  readonly minutes: SpanMinutes
  readonly since: Date
  readonly until: Date
}

/** A time in the fewest spans: days where whole, hours at their edges, five minutes at those of the hours. In order; at most five. */
export function spansOf(since: Date, until: Date, sizes: readonly SpanMinutes[] = spanMinutes): SpanRange[] {
  const minutes = sizes.at(-1)
  if (minutes === undefined || since >= until) return []
  const finer = sizes.slice(0, -1)
  const [first, end] = [spanEnd(since, minutes), spanStart(until, minutes)]
  if (first >= end) return spansOf(since, until, finer)
  return [...spansOf(since, first, finer), { minutes, since: first, until: end }, ...spansOf(end, until, finer)]
}

/** Which share of the exchanges that were a webhook's to answer ended in a fallback; null where there was none. */
export function fallbackRate(counts: ReadonlyMap<Outcome, number>): number | null {
  let [asked, fallbacks] = [0, 0]
  for (const [outcome, count] of counts) {
    const isFallback = outcomes[outcome].kind === 'fallback'
    if (isFallback || outcome === 'replied' || outcome === 'token_refused') asked += count
    if (isFallback) fallbacks += count
  }
  return asked === 0 ? null : fallbacks / asked
}
