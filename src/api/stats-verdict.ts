import { z } from 'zod'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { bounds, type Calls, checkResults, figures, judge, verdictOf, verdicts } from '../domain/verdict.ts'
import type { Database } from '../storage/database.ts'
import { findFlow } from '../storage/flows.ts'
import { readStats, type Stats } from '../storage/stats.ts'

const check = z.object({
  figure: z.enum(figures),
  result: z.enum(checkResults),
  value: z.number().nullable().describe('null without calls'),
  windowMinutes: z.int().describe('how long before `until` the calls are that it is of: as Meta judges'),
  atRisk: z.number().describe('beyond it `at_risk`'),
  metaThresholds: z
    .array(z.number())
    .describe('beyond the first `over_threshold`: Meta alerts, mildest first; empty where Meta does not look'),
})

export const verdictBody = z
  .object({
    verdict: z
      .enum(verdicts)
      .describe('the worst of the checks; `throttled` and `blocked`: Meta has acted on the flow'),
    flowStatus: z.string().nullable().describe('of the flow that was asked for, as Meta told it last'),
    checks: z.array(check),
  })
  .describe(
    'how the calls stand to what Meta alerts and throttles at. `p90Ms`: of what Meta waited; `errorRate`: calls that did not decrypt or were not answered within 10 s; `availability`: calls answered within 10 s; `fallbackRate`: no error to Meta, but people without an answer',
  )

export type VerdictBody = z.input<typeof verdictBody>

export const exampleVerdict: VerdictBody = {
  verdict: 'at_risk',
  flowStatus: 'PUBLISHED',
  checks: [
    {
      figure: 'p90Ms',
      result: 'ok',
      value: 412.6,
      windowMinutes: 30,
      atRisk: 800,
      metaThresholds: [1000, 5000, 7000],
    },
    {
      figure: 'errorRate',
      result: 'ok',
      value: 0,
      windowMinutes: 30,
      atRisk: 0.03,
      metaThresholds: [0.05, 0.1, 0.5],
    },
    { figure: 'availability', result: 'ok', value: 1, windowMinutes: 10, atRisk: 0.95, metaThresholds: [0.9] },
    {
      figure: 'fallbackRate',
      result: 'at_risk',
      value: 0.0612,
      windowMinutes: 30,
      atRisk: 0.03,
      metaThresholds: [],
    },
  ],
}

/** Of the calls of the 10 and 30 minutes before `until`, at a whole five minutes. Throws StorageError. */
export async function readVerdict(
  database: Database,
  workspaceId: WorkspaceId,
  { until, flowId }: { readonly until: Date; readonly flowId?: string | undefined },
): Promise<VerdictBody> {
  const last = (minutes: number) =>
    readStats(database, workspaceId, { since: new Date(until.getTime() - minutes * 60_000), until, flowId })
  const [ten, thirty, flow] = await Promise.all([
    last(10),
    last(30),
    flowId === undefined ? null : findFlow(database, workspaceId, flowId),
  ])
  const flowStatus = flow?.status ?? null
  const checks = judge({ 10: callsOf(ten), 30: callsOf(thirty) })
  return {
    verdict: verdictOf(checks, flowStatus),
    flowStatus,
    checks: checks.map(({ figure, result, value }) => {
      const { windowMinutes, atRisk, meta } = bounds[figure]
      return { figure, result, value: rounded(value), windowMinutes, atRisk, metaThresholds: [...meta] }
    }),
  }
}

/** Of all webhooks. */
export function countsOf({ webhooks }: Pick<Stats, 'webhooks'>): Map<Outcome, number> {
  const counts = new Map<Outcome, number>()
  for (const webhook of webhooks) {
    for (const [outcome, count] of webhook.counts) counts.set(outcome, (counts.get(outcome) ?? 0) + count)
  }
  return counts
}

function callsOf(stats: Stats): Calls {
  return { outcomes: countsOf(stats), totals: stats.totals }
}

function rounded(value: number | null): number | null {
  return value === null ? null : Number(value.toFixed(4))
}
