import type { DeadCall, DeadTenantReport, Segment, State } from './dead-tenant-run.ts'
import { countBy, type Figures, figuresOf } from './figures.ts'

/** Waits of the others' users over all segments of these states. */
export function othersIn({ segments }: DeadTenantReport, ...states: readonly State[]): Figures {
  return figuresOf(segments.filter(({ state }) => states.includes(state)).flatMap(({ others }) => others))
}

/** The same by Relevo's own clock: what it added. */
export function addedIn({ segments }: DeadTenantReport, ...states: readonly State[]): Figures {
  return figuresOf(segments.filter(({ state }) => states.includes(state)).flatMap(({ othersAdded }) => othersAdded))
}

/** The dead tenant's calls, by whether the breaker had opened in their segment when they came. */
export function aroundOpening({ dead }: DeadTenantReport): { before: DeadCall[]; after: DeadCall[] } {
  const opened = new Set<number>()
  const [before, after]: [DeadCall[], DeadCall[]] = [[], []]
  // They are in the order in which they came.
  for (const call of dead) {
    if (call.outcome === 'breaker_open') opened.add(call.segment)
    if (opened.has(call.segment)) after.push(call)
    else before.push(call)
  }
  return { before, after }
}

export function printDeadTenant(report: DeadTenantReport): void {
  const { tenants, rate, seconds, segments, problems, notSent, exitCode } = report
  console.log(
    `one tenant of ${tenants} at ${rate} exchanges/s, the others together at ${rate}/s; segments of ${seconds} s`,
  )
  for (const segment of segments) printSegment(segment)
  printOthers("the others' users, the tenant…", (...states) => othersIn(report, ...states))
  printOthers('Relevo’s part of that, its clock', (...states) => addedIn(report, ...states))
  printDead(report)
  const resident = segments.map(({ residentMiB }) => residentMiB)
  console.log(`\nresident memory, MiB              ${resident.map(Math.round).join(' ')}`)
  console.log(`not sent, exit code               ${notSent}, ${exitCode}`)
  for (const [problem, count] of problems) console.log(`problem                           ${count} × ${problem}`)
}

function printOthers(title: string, of: (...states: readonly State[]) => Figures): void {
  console.log(`\n${title.padEnd(34)}calls      p50      p99    p99.9      max ms   p99 by without, by alive`)
  for (const state of ['without', 'alive', 'silent', 'unconnectable'] as const) {
    const figures = of(state)
    const ratios = [of('without'), of('alive')].map(({ p99 }) => (figures.p99 / p99).toFixed(2).padStart(8)).join('  ')
    console.log(`${state.padEnd(30)} ${row(figures)}            ${ratios}`)
  }
}

function printSegment({ state, others, residentMiB, relayLoad, coreLoads, lagMs }: Segment): void {
  const { p50, p99 } = figuresOf(others)
  const cores = coreLoads.map(percent).join(' ')
  console.log(
    `  ${state.padEnd(13)} others p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)} ms; relay's CPU ${percent(relayLoad)}, cores ${cores}, ` +
      `${residentMiB.toFixed(0)} MiB, generator late by ${lagMs.toFixed(0)} ms at most`,
  )
}

function printDead(report: DeadTenantReport): void {
  const { before, after } = aroundOpening(report)
  console.log(`\nthe dead tenant's users           calls      p50      p99    p99.9      max ms`)
  for (const [when, calls] of [
    ['before the breaker opened', before],
    ['after', after],
  ] as const) {
    console.log(`${when.padEnd(30)} ${row(figuresOf(calls.map(({ ms }) => ms)))}`)
    for (const outcome of Object.keys(countBy(calls, (call) => call.outcome)).toSorted()) {
      const waits = calls.filter((call) => call.outcome === outcome).map(({ ms }) => ms)
      console.log(`  ${outcome.padEnd(28)} ${row(figuresOf(waits))}`)
    }
  }
  const shielded = after.filter(({ outcome }) => outcome === 'breaker_open')
  const fast = shielded.filter(({ ms }) => ms < 20).length
  console.log(`  the same by Relevo's clock    ${row(figuresOf(shielded.map(({ relayMs }) => relayMs)))}`)
  console.log(
    `  breaker_open under 20 ms       ${percent(fast / shielded.length)} (${shielded.length - fast} were not)`,
  )
}

function row({ count, ...times }: Figures): string {
  const { p50, p99, p999, max } = times
  return [String(count), ...[p50, p99, p999, max].map((ms) => ms.toFixed(1))].map((cell) => cell.padStart(8)).join(' ')
}

const percent = (share: number) => `${(share * 100).toFixed(1)} %`
