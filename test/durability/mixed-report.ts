import { type Deed, outcomeOf } from './failing-tenant.ts'
import { countBy, type Figures, figuresOf, type Slope, slopeOf } from './figures.ts'
import type { Sample } from './inside.ts'
import type { LoggedExchange, MixedReport } from './mixed-run.ts'

/** DEADLINE_MS as it is unless set. */
const deadlineMs = 700

/** How the log, what the tenant did and what Meta got agree. */
export interface Agreement {
  /** What the tenant did, with how the exchange ended. */
  readonly endings: Readonly<Record<string, number>>
  /** `timeout` where the tenant answered: it, its machine or Relevo was too slow. */
  readonly tooSlow: number
  /** Ended otherwise than what the tenant did makes an exchange end. */
  readonly unexplained: readonly string[]
  /** In which seconds of the run the calls of both came, and those without an answer, and how many. */
  readonly wrongInSecond: Readonly<Record<string, number>>
  /** Answered, and not in the log; in it more than once. */
  readonly lost: number
  readonly twice: number
}

export function agreementOf({ log, deeds, calls, startedAt }: MixedReport): Agreement {
  const deedOf = ({ flow_token }: LoggedExchange): Deed | null => deeds.get(flow_token)?.deed ?? null
  const described = (row: LoggedExchange) =>
    `${deedOf(row) ?? 'not asked'} → ${row.outcome}${row.reason === null ? '' : ` (${row.reason})`}, Meta got ${calls.get(row.flow_token)?.kind}`
  const isRight = (row: LoggedExchange) => {
    const deed = deedOf(row)
    const isAsTold = (calls.get(row.flow_token)?.kind === 'screen') === (row.outcome === 'replied')
    return deed !== null && outcomeOf(deed) === row.outcome && isAsTold
  }
  const isTooSlow = (row: LoggedExchange) => row.outcome === 'timeout' && calls.get(row.flow_token)?.kind === 'fallback'
  const secondOf = (sentAt = Number.NaN) => ((sentAt - startedAt) / 1000).toFixed(0)
  const tokens = new Set(log.map(({ flow_token }) => flow_token))
  const wrong = log.filter((row) => !isRight(row))
  const unanswered = [...calls.values()].filter(({ kind }) => kind === 'lost')
  const wrongCalls = [...wrong.map((row) => calls.get(row.flow_token)), ...unanswered]
  return {
    endings: countBy(log, described),
    tooSlow: wrong.filter(isTooSlow).length,
    unexplained: wrong.filter((row) => !isTooSlow(row)).map(described),
    wrongInSecond: countBy(wrongCalls, (call) => secondOf(call?.sentAt)),
    lost: [...calls].filter(([token, { kind }]) => kind !== 'lost' && !tokens.has(token)).length,
    twice: log.length - tokens.size,
  }
}

/** Fallbacks of exchanges that reached the deadline, ms after it. */
export interface Lateness {
  /** The request's end, by the relay's clock from its dispatch. */
  readonly attempt: Figures
  /** The answer sealed, by the relay's clock from the dispatch; where the row is on a disk, and after 700 ms it is, it goes to the socket in the same turn. */
  readonly sealed: Figures
  /** The answer in Meta's hands from the moment when the tenant had the whole request: later than the dispatch. */
  readonly fromTenant: Figures
  /** The same from Meta's first byte: earlier than the dispatch. */
  readonly fromMeta: Figures
  /** Before the deadline, by either clock. */
  readonly early: number
}

export function latenessOf({ log, calls, deeds }: MixedReport): Lateness {
  const timeouts = log.flatMap((row) => {
    const [call, deed] = [calls.get(row.flow_token), deeds.get(row.flow_token)]
    return row.outcome === 'timeout' && call !== undefined && deed !== undefined ? [{ row, call, deed }] : []
  })
  const late = (msOf: (timeout: (typeof timeouts)[number]) => number) =>
    figuresOf(timeouts.map((timeout) => msOf(timeout) - deadlineMs))
  const isEarly = ({ row, call }: (typeof timeouts)[number]) =>
    (row.webhook_ms ?? 0) < deadlineMs || call.answeredAt - call.sentAt < deadlineMs
  return {
    attempt: late(({ row }) => row.webhook_ms ?? 0),
    sealed: late(({ row: { timings } }) => timings.webhook + timings.encrypt),
    fromTenant: late(({ call, deed }) => call.answeredAt - deed.at),
    fromMeta: late(({ call }) => call.answeredAt - call.sentAt),
    early: timeouts.filter(isEarly).length,
  }
}

/** What grows by the hour after the warm-up, by what was there when the load rested, with standard errors. */
export function growthOf({ rests, startedAt, warmUpSeconds }: MixedReport) {
  const warm = rests.filter(({ askedAt }) => askedAt >= startedAt + warmUpSeconds * 1000)
  const perHour = (of: (sample: Sample) => number | null) =>
    slopeOf(
      warm.flatMap((sample) => {
        const value = of(sample)
        return value === null ? [] : [[(sample.askedAt - startedAt) / 3_600_000, value] as const]
      }),
    )
  return {
    rests: warm.length,
    heapMB: perHour(({ heapBytes }) => (heapBytes === null ? null : heapBytes / 1e6)),
    externalMB: perHour(({ externalBytes }) => externalBytes / 1e6),
    residentMB: perHour(({ residentBytes }) => residentBytes / 1e6),
    socketsOfMeta: perHour(({ sockets }) => sockets.meta),
    socketsToTenant: perHour(({ sockets }) => sockets.tenant),
    socketsToObservers: perHour(({ sockets }) => sockets.observers),
    socketsToDatabase: perHour(({ sockets }) => sockets.database),
    timers: perHour(({ timers }) => timers),
    listeners: perHour(({ listeners }) => listeners),
    keptAnswers: perHour(({ keptAnswers }) => keptAnswers),
  }
}

/** What there is ever more of: beyond chance, and more than one in six minutes. The heap has a bound of its own. */
export function growing(report: MixedReport): string[] {
  const { rests: _, heapMB, externalMB, residentMB, keptAnswers, ...counts } = growthOf(report)
  const isGrowing = ({ slope, standardError }: Slope) => slope - 3 * standardError > 10
  return Object.entries(counts).flatMap(([name, slope]) => (isGrowing(slope) ? [name] : []))
}

export function printMixed(report: MixedReport): void {
  const { rate, found, seconds, summary, statuses, relayLoad, coreLoads, deliveries, attempts } = report
  const agreement = agreementOf(report)
  if (found !== null) {
    const bound = found.isOfRig ? 'what load, tenants and database bear beside each other' : 'half of that'
    console.log(`by the relay's CPU alone  ${found.capacity.toFixed(0)} exchanges/s; the load is ${bound}`)
  }
  console.log(
    `load                      ${rate.toFixed(1)} exchanges/s for ${seconds} s, 30 % of the tenant's calls fail`,
  )
  console.log(`relay's CPU, cores        ${percent(relayLoad)}; ${coreLoads.map(percent).join(', ')} (by whomever)`)
  console.log(`CPU of an exchange        ${((relayLoad * 1000) / rate).toFixed(2)} ms, its deliveries included`)
  const { planned, sent, lost, notSent, lagMs } = summary
  const latency = figuresOf([...report.calls.values()].map(({ sentAt, answeredAt }) => answeredAt - sentAt))
  console.log(`exchanges                 ${sent} of ${planned} sent, ${notSent} not sent, ${lost} without an answer`)
  console.log(`connections refused       ${report.refusedConnections}`)
  console.log(
    `latency p50, p99, max     ${ms(latency.p50)}, ${ms(latency.p99)}, ${ms(latency.max)}; generator late by ${ms(lagMs)}`,
  )
  console.log(`statuses                  ${[...statuses].map(([status, count]) => `${status}: ${count}`).join(', ')}`)
  for (const [problem, count] of summary.problems) console.log(`problem                   ${count} × ${problem}`)
  for (const [ending, count] of Object.entries(agreement.endings).toSorted())
    console.log(`  ${String(count).padStart(7)} × ${ending}`)
  console.log(`unexplained, too slow     ${agreement.unexplained.length}, ${agreement.tooSlow}`)
  console.log(`  of them by second       ${JSON.stringify(agreement.wrongInSecond)}`)
  const standstills = report.standstills.map(({ from, to }) => to - from)
  console.log(`load and tenant stood still ${standstills.length} times, for ${ms(Math.max(0, ...standstills))} at most`)
  console.log(`lost from the log, twice  ${agreement.lost}, ${agreement.twice}`)
  console.log(`deliveries                ${JSON.stringify(deliveries)}, ${attempts} attempts`)
  printLateness(latenessOf(report))
  printInside(report)
  console.log(`exit code                 ${report.exitCode}; lines of log or warnings ${report.complaints.length}`)
  for (const line of report.complaints.slice(0, 10)) console.log(`  ${line.slice(0, 300)}`)
}

function printLateness({ attempt, sealed, fromTenant, fromMeta, early }: Lateness): void {
  console.log(`fallbacks at the deadline ${attempt.count}, early ${early}`)
  console.log(`  late by                      p50      p99    p99.9      max ms`)
  const rows = {
    'request ended (relay)': attempt,
    'answer sealed (relay)': sealed,
    'since the tenant had it': fromTenant,
    "since Meta's first byte": fromMeta,
  }
  for (const [name, { p50, p99, p999, max }] of Object.entries(rows)) {
    console.log(`  ${name.padEnd(26)} ${[p50, p99, p999, max].map((value) => value.toFixed(1).padStart(8)).join(' ')}`)
  }
}

function printInside(report: MixedReport): void {
  const { idleBefore, samples, rests, idleAfter, startedAt } = report
  const every = Math.max(1, Math.floor(samples.length / 12))
  console.log(
    '   second   heap MB  external  resident   timers  listeners  kept answers  sockets of Meta, to tenant, observers, database, others',
  )
  const secondOf = (sample: Sample) => ((sample.askedAt - startedAt) / 1000).toFixed(0)
  const rows: (readonly [string, Sample])[] = [
    ['idle', idleBefore],
    ...samples.filter((_, at) => at % every === 0).map((sample) => [secondOf(sample), sample] as const),
    ...rests.map((sample) => [`${secondOf(sample)} rest`, sample] as const),
    ['idle', idleAfter],
  ]
  for (const [second, sample] of rows) {
    const megabytes = [sample.heapBytes, sample.externalBytes, sample.residentBytes].map((bytes) =>
      bytes === null ? '-' : (bytes / 1e6).toFixed(1),
    )
    const { timers, listeners, keptAnswers, sockets } = sample
    const counts = [
      timers,
      listeners,
      keptAnswers,
      sockets.meta,
      sockets.tenant,
      sockets.observers,
      sockets.database,
      sockets.others,
    ]
    console.log([second, ...megabytes, ...counts].map((cell) => String(cell).padStart(9)).join(' '))
  }
  console.log(`living objects before     ${JSON.stringify(idleBefore.objects)}`)
  console.log(`living objects after      ${JSON.stringify(idleAfter.objects)}`)
  const { rests: count, ...growth } = growthOf(report)
  console.log(`growth per hour over ${count} rests after ${report.warmUpSeconds} s (± standard error)`)
  for (const [name, { slope, standardError }] of Object.entries(growth)) {
    console.log(`  ${name.padEnd(23)} ${slope.toFixed(2)} ± ${standardError.toFixed(2)}`)
  }
}

const ms = (value: number) => `${value.toFixed(1)} ms`
const percent = (share: number) => `${(share * 100).toFixed(1)} %`
