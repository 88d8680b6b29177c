import { z } from 'zod'
import { type Histogram, merged, percentile } from '../domain/histogram.ts'
import { type Outcome, outcomeNames } from '../domain/outcome.ts'
import { fallbackRate, metaThresholds, spanEnd, spanStart } from '../domain/stats.ts'
import { readStats, type Stats, type WebhookStats } from '../storage/stats.ts'
import { exampleId } from './example.ts'
import { requireNamed } from './existence.ts'
import { iso, isoTime, reference, time } from './fields.ts'
import { ok, workspaceOperation } from './operation.ts'
import { countsOf, exampleVerdict, readVerdict, verdictBody } from './stats-verdict.ts'

const dayMs = 86_400_000

const percentileMs = z.number().nullable()
const percentiles = { p50: percentileMs, p90: percentileMs, p99: percentileMs }

const webhookBody = z
  .object({
    webhookId: z.string(),
    exchanges: z.int().describe('that were this webhook\u2019s to answer'),
    p50: percentileMs,
    p90: percentileMs,
    p95: percentileMs,
    p99: percentileMs,
    timeouts: z.int(),
    lateReplies: z.int().describe('timeouts whose reply was heard later: they count at the time it really took'),
    unheard: z
      .int()
      .describe('timeouts without a late reply: they count at their deadline, which is the least they took'),
  })
  .describe('percentiles of the time until the webhook had answered, ms')

const statsBody = z.object({
  since: isoTime,
  until: isoTime.describe(
    'of what was counted: earlier than asked for if that lies ahead, or if the roll-up is over an hour behind',
  ),
  exchanges: z.int().describe('calls that are recorded and ended, pings and repeats too'),
  outcomes: z.partialRecord(z.enum(outcomeNames), z.int()).describe('how many ended in each outcome that occurred'),
  fallbackRate: z
    .number()
    .nullable()
    .describe('share of fallbacks among the exchanges that a webhook was to answer (0 to 1); null without any'),
  total: z.object(percentiles).describe('of what Meta waited, ms, whatever the call'),
  webhook: z.object(percentiles).describe('of the time until webhooks had answered, ms, late replies as in `webhooks`'),
  thresholds: z
    .object({ p90Ms: z.array(z.number()), errorRate: z.array(z.number()), availability: z.number() })
    .describe(
      'where Meta alerts and may throttle a flow: p90 of its latency over 30 min, its share of errors over 30 min, and the share of calls answered over 10 min. A fallback is an answer and no error to Meta',
    ),
  verdict: verdictBody,
  webhooks: z.array(webhookBody).describe('the busiest first'),
})

const query = z
  .strictObject({
    since: time.optional().describe('inclusive; 24 hours before `until` if left out'),
    until: time.optional().describe('exclusive; now if left out'),
    flowId: reference.optional(),
  })
  .refine(({ since, until }) => since === undefined || until === undefined || since < until, {
    path: ['until'],
    message: 'must be later than since',
  })

export const get = workspaceOperation({
  summary: 'Read figures on exchanges: how they ended, and how long they and their webhooks took',
  description:
    'Both ends of the time are honoured to five minutes: `since` is moved back, and `until` on, to the next full five. Percentiles are right within 1 %. With `flowId` it is one flow\u2019s page; `verdict` then says how the flow stands to Meta\u2019s thresholds at `until`, over the times that Meta judges by. Exchanges that are written later, because the database was away, are counted within a few minutes of that.',
  example: {
    query: { since: '2026-05-05T19:00:00.000Z', until: '2026-05-06T19:00:00.000Z' },
    answer: ok({
      since: '2026-05-05T19:00:00.000Z',
      until: '2026-05-06T19:00:00.000Z',
      exchanges: 1000,
      outcomes: { replied: 920, answered_locally: 20, timeout: 60 },
      fallbackRate: 0.0612,
      total: { p50: 84.1, p90: 412.6, p99: 703.9 },
      webhook: { p50: 80.9, p90: 409.2, p99: 912.4 },
      thresholds: metaThresholds,
      verdict: exampleVerdict,
      webhooks: [
        {
          webhookId: exampleId('webhook'),
          exchanges: 980,
          p50: 80.9,
          p90: 409.2,
          p95: 829.7,
          p99: 912.4,
          timeouts: 60,
          lateReplies: 58,
          unheard: 2,
        },
      ],
    }),
  },
  query,
  response: { 200: statsBody },
  async handle({ deps, workspaceId, query: { flowId, ...asked } }) {
    const now = spanEnd(new Date(), 5)
    const until = asked.until === undefined || asked.until > now ? now : spanEnd(asked.until, 5)
    const since = spanStart(asked.since ?? new Date(until.getTime() - dayMs), 5)
    const stats = await readStats(deps.database, workspaceId, { since: since < until ? since : until, until, flowId })
    // Figures outlive the flow that they are of.
    if (stats.webhooks.length === 0) await requireNamed(deps.database, workspaceId, { flowId })
    const verdict = await readVerdict(deps.database, workspaceId, { until: stats.until, flowId })
    return ok({ since: iso(since < until ? since : until), ...bodyOf(stats), verdict })
  },
})

function bodyOf({ until, totals, webhooks }: Stats): Omit<z.input<typeof statsBody>, 'since' | 'verdict'> {
  const counts = countsOf({ webhooks })
  const ofWebhooks = webhooks.filter(({ webhookId }) => webhookId !== '').map(webhookBodyOf)
  return {
    until: iso(until),
    exchanges: sum(counts),
    outcomes: Object.fromEntries(counts),
    fallbackRate: rounded(fallbackRate(counts), 4),
    total: percentilesOf(totals),
    webhook: percentilesOf(merged(webhooks.map(({ times }) => times))),
    thresholds: metaThresholds,
    webhooks: ofWebhooks.toSorted((a, b) => b.exchanges - a.exchanges || (a.webhookId < b.webhookId ? -1 : 1)),
  }
}

function webhookBodyOf({ webhookId, counts, lateReplies, times }: WebhookStats): z.input<typeof webhookBody> {
  const timeouts = counts.get('timeout') ?? 0
  return {
    webhookId,
    exchanges: sum(counts),
    ...percentilesOf(times),
    p95: rounded(percentile(times, 0.95), 1),
    timeouts,
    lateReplies,
    unheard: timeouts - lateReplies,
  }
}

function percentilesOf(histogram: Histogram) {
  const at = (share: number) => rounded(percentile(histogram, share), 1)
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}

function sum(counts: ReadonlyMap<Outcome, number>): number {
  return [...counts.values()].reduce((all, count) => all + count, 0)
}

function rounded(value: number | null, digits: number): number | null {
  return value === null ? null : Number(value.toFixed(digits))
}
