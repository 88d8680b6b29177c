import postgres from 'postgres'
import { closedLoad, openLoad, type Tally } from './overload-load.ts'
import { createOverloadRig } from './overload-rig.ts'

export interface OverloadReport {
  readonly capacity: Tally
  readonly overload: Tally
  readonly after: Tally
  /** CPU of the relay and of the generator (tenants included) in the overload, shares of a core. */
  readonly relayCpu: number
  readonly generatorCpu: number
  readonly cpuMsPerExchange: number
  /** Of requests without a reply: from the tenant's having them to the fallback on the wire, ms. */
  readonly silences: readonly number[]
  /** The same by the relay's own clock, from dispatch to the end of the wait. */
  readonly earliestMs: number
  readonly waitedP999Ms: number
  readonly shedCounted: number
  readonly refusedCounted: number
  /** After the last call of the overload, s: until nobody is shed or refused any more. */
  readonly recoverySeconds: number
  /** Answered, and not in the log: by count. */
  readonly unlogged: number
}

/**
 * Three times as many exchanges a second as the relay can serve, for so long; then half as many. `byCpu`: where others may take the processor while that is
 * measured, it can do more than it did, and three times that might be no overload.
 */
export async function overloadRun(
  databaseUrl: string,
  seconds: number,
  { settling = 8, byCpu = false } = {},
): Promise<OverloadReport> {
  const rig = await createOverloadRig(databaseUrl)
  try {
    await closedLoad(rig.call, 48, Math.min(3, seconds / 4))
    const cpuBefore = await rig.metric('process_cpu_seconds_total')
    const capacity = await closedLoad(rig.call, 48, Math.min(10, seconds / 2))
    const cpuServed = (await rig.metric('process_cpu_seconds_total')) - cpuBefore
    const served = capacity.replied + capacity.timedOut
    const perSecond = served / capacity.seconds
    const cpuMsPerExchange = (cpuServed * 1000) / served
    const offered = 3 * (byCpu ? Math.max(perSecond, 1000 / cpuMsPerExchange) : perSecond)
    const from = rig.silences.length
    const [ownBefore, relayBefore] = [process.cpuUsage(), await rig.metric('process_cpu_seconds_total')]
    const overload = await openLoad(rig.call, offered, seconds)
    const endedAt = performance.now()
    const relaySeconds = (await rig.metric('process_cpu_seconds_total')) - relayBefore
    const own = process.cpuUsage(ownBefore)
    const silences = rig.silences.slice(from).sort((a, b) => a - b)
    const after = await openLoad(rig.call, perSecond / 2, settling)
    const shedCounted = await rig.metric('relevo_exchanges_shed_total')
    const refusedCounted = await rig.metric('relevo_connections_refused_total')
    return {
      capacity,
      overload,
      after,
      relayCpu: relaySeconds / overload.seconds,
      generatorCpu: (own.user + own.system) / 1e6 / overload.seconds,
      cpuMsPerExchange,
      silences,
      shedCounted,
      refusedCounted,
      recoverySeconds: Math.max(0, (after.lastWithoutReply ?? 0) - endedAt) / 1000,
      ...(await logOf(databaseUrl, [capacity, overload, after])),
    }
  } finally {
    await rig.close()
  }
}

async function logOf(databaseUrl: string, tallies: readonly Tally[]) {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined })
  try {
    const [row] = await sql`
      select count(*)::int as rows,
        coalesce(min(webhook_ms) filter (where outcome = 'timeout'), 700) as earliest,
        coalesce(percentile_cont(0.999) within group (order by webhook_ms) filter (where outcome = 'timeout'), 700) as waited
      from exchanges where outcome is not null`
    const answered = tallies.reduce((sum, { latencies }) => sum + latencies.length, 0)
    return {
      unlogged: Math.max(0, answered - row?.rows),
      earliestMs: Number(row?.earliest),
      waitedP999Ms: Number(row?.waited),
    }
  } finally {
    await sql.end()
  }
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const perSecond = ({ replied, timedOut, seconds }: Tally) => (replied + timedOut) / seconds

export function printOverload(report: OverloadReport): void {
  const { capacity, overload, after, silences } = report
  const answered = overload.latencies.length
  const share = (perSecond(overload) / perSecond(capacity)) * 100
  const ms = (value: number) => value.toFixed(1)
  console.log(
    `capacity                  ${ms(perSecond(capacity))} replies/s, CPU ${report.cpuMsPerExchange.toFixed(2)} ms each (p99 ${ms(percentile(capacity.latencies, 0.99))} ms; shed ${capacity.shed})`,
  )
  console.log(
    `offered                   ${ms(overload.offered / overload.seconds)}/s for ${ms(overload.seconds)} s; the generator was late by ${ms(overload.lagMs)} ms at worst`,
  )
  console.log(
    `replies                   ${overload.replied}, waited for the deadline ${overload.timedOut}: ${ms(perSecond(overload))}/s = ${share.toFixed(1)} % of capacity`,
  )
  console.log(`fallbacks at once         ${overload.shed} (${ms(overload.shed / overload.seconds)}/s)`)
  console.log(
    `refused, lost             ${overload.refused}, ${overload.lost} of ${overload.offered}; answered ${answered}`,
  )
  console.log(
    `answers p50, p99, max     ${ms(percentile(overload.latencies, 0.5))}, ${ms(percentile(overload.latencies, 0.99))}, ${ms(percentile(overload.latencies, 1))} ms`,
  )
  console.log(
    `deadline, on the wire     p50 ${ms(percentile(silences, 0.5) - 700)}, p99.9 ${ms(percentile(silences, 0.999) - 700)} ms late (${silences.length}; by the tenant's clock)`,
  )
  console.log(
    `deadline, by the relay    earliest ${report.earliestMs.toFixed(2)} ms, p99.9 ${(report.waitedP999Ms - 700).toFixed(2)} ms late`,
  )
  // On a machine that others use too, this tells more than the count does.
  const onReplies =
    ((overload.replied + overload.timedOut) * report.cpuMsPerExchange) / (report.relayCpu * overload.seconds * 10)
  console.log(`the relay's CPU           ${onReplies.toFixed(0)} % of it went to replies`)
  console.log(
    `CPU                       relay ${report.relayCpu.toFixed(2)}, generator and tenants ${report.generatorCpu.toFixed(2)} of a core`,
  )
  console.log(`by the relay's metrics    shed ${report.shedCounted}, connections refused ${report.refusedCounted}`)
  console.log(
    `recovered after           ${report.recoverySeconds.toFixed(2)} s (then ${after.replied + after.timedOut} of ${after.offered} at half the capacity)`,
  )
  console.log(`answered and not logged   ${report.unlogged}`)
  for (const [problem, count] of [...capacity.wrong, ...overload.wrong, ...after.wrong])
    console.log(`WRONG                     ${count} × ${problem}`)
}
