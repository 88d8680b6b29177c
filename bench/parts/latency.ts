import { readClosedRows } from '../../test/durability/closed-rows.ts'
import { watchCores } from '../../test/durability/cores.ts'
import { type Figures, figuresOf } from '../../test/durability/figures.ts'
import { closedLoad, openLoad, type Tally } from '../../test/durability/overload-load.ts'
import { wearIn } from '../../test/durability/worn-in.ts'
import { roundTripMs } from '../cpu.ts'
import { type LoadedRelevo, type Surroundings, startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Extent, type Finding, ms, type Part, share, whole } from '../part.ts'
import { manyAtOnce, wrongIn } from './throughput.ts'

/** What a webhook takes, ms: one in the same place, and one on a machine that is further away. */
const thinkMs = [5, 20]

/**
 * (c): what Relevo adds, total less webhook time by the rows' own clocks, and what Meta's side saw in all; one at a time, at half and at four
 * fifths of the capacity that is found first. Calls come when a plan says so, whatever came of those before. An answer waits for its row, which is
 * written while the tenant thinks: so with a tenant that answers at once, and with those that take a while.
 */
export const latency: Part = async function* (extent) {
  const atOnce = await withSurroundings((surroundings) => measureAll(surroundings, extent, null))
  yield ['capacity that loads are shares of', `${whole(atOnce.capacity)}/s`]
  const trips = atOnce.roundTrip.map((value) => value.toFixed(2))
  yield ['a bare `select 1`, p50: in a loop, 15 ms after the one before', `${trips.join(', ')} ms`]
  yield* atOnce.findings
  for (const thinks of thinkMs) {
    const slower = await withSurroundings((surroundings) => {
      const tenantUrl = new URL(`/after/${thinks}`, surroundings.tenantUrl).href
      return measureAll({ ...surroundings, tenantUrl }, extent, atOnce.capacity)
    })
    for (const [what, figure] of slower.findings) yield [`tenant takes ${thinks} ms, ${what}`, figure]
  }
}

/** `known`: the capacity; null: it is found. */
async function measureAll(surroundings: Surroundings, { warmUp, seconds }: Extent, known: number | null) {
  await wearIn(surroundings.databaseUrl)
  const relevo = await startLoaded(surroundings)
  await relevo.play(warmUp, 16)
  const capacity = known ?? (await findCapacity(relevo, seconds))
  const loads: [string, () => Promise<Tally>][] = [
    ['one at a time', () => closedLoad(relevo.call, 1, seconds)],
    [`at 50 %, ${whole(capacity / 2)}/s`, () => planned(relevo, capacity / 2, seconds)],
    [`at 80 %, ${whole(capacity * 0.8)}/s`, () => planned(relevo, capacity * 0.8, seconds)],
  ]
  const roundTrip = roundTripMs(surroundings.databaseUrl)
  const findings: Finding[] = []
  for (const [name, load] of loads) findings.push(...(await measure(relevo, name, load)))
  await relevo.end()
  return { capacity, roundTrip, findings }
}

function planned(relevo: LoadedRelevo, rate: number, seconds: number): Promise<Tally> {
  relevo.sealAhead(Math.ceil(rate * seconds))
  return openLoad(relevo.call, rate, seconds)
}

async function findCapacity({ call }: LoadedRelevo, seconds: number): Promise<number> {
  const { replied, seconds: took } = await closedLoad(call, manyAtOnce, seconds)
  return replied / took
}

async function measure(relevo: LoadedRelevo, name: string, load: () => Promise<Tally>): Promise<Finding[]> {
  const waitsOf = async () => {
    const metric = 'relevo_recorder_answer_wait_seconds'
    return [await relevo.serving.metric(`${metric}_sum`), await relevo.serving.metric(`${metric}_count`)] as const
  }
  const [sumBefore, countBefore] = await waitsOf()
  const since = new Date()
  const [coresSince, cpuBefore] = [watchCores(), relevo.cpuMs()]
  const tally = await load()
  const [busy, cpuMs] = [coresSince(), relevo.cpuMs() - cpuBefore]
  const [sum, count] = await waitsOf()
  const { added, steps } = await addedSince(relevo.databaseUrl, since)
  const seen = figuresOf(tally.latencies)
  const line = (figures: typeof added) =>
    [figures.p50, figures.p99, figures.p999].map((value) => value.toFixed(2)).join(', ')
  const findings: Finding[] = [
    [`${name}: added latency p50, p99, p99.9`, `${line(added)} ms, of ${whole(added.count)}`],
    [`${name}: at Meta’s side, with the tenant’s time`, `${line(seen)} ms`],
    [
      `${name}: of it, mean of ${Object.keys(steps).join(', ')}`,
      `${Object.values(steps)
        .map((value) => value.toFixed(2))
        .join(', ')} ms`,
    ],
    [`${name}: of it, mean wait for the row`, ms(((sum - sumBefore) / (count - countBefore)) * 1000, 2)],
    [`${name}: busy of the relay’s core and of the other`, busy.map(share).join(', ')],
    [`${name}: CPU per exchange`, ms(cpuMs / tally.offered)],
  ]
  // The load's own delay is in neither figure, and says whether the plan was kept.
  if (tally.lagMs > 0) findings.push([`${name}: the load was late by at most`, ms(tally.lagMs, 1)])
  if (tally.wrong.size > 0) findings.push([`${name}: answers that were not the tenant’s`, wrongIn(tally)])
  return findings
}

/** Of the exchanges that were answered: what each had besides its webhook's time, ms, and the mean of each step. */
function addedSince(databaseUrl: string, since: Date): Promise<{ added: Figures; steps: Record<string, number> }> {
  return readClosedRows(databaseUrl, async (sql) => {
    const rows = await sql`
      select duration_ms - webhook_ms as added, timings from exchanges where outcome = 'replied' and created_at >= ${since}`
    const mean = (step: string) => rows.reduce((sum, { timings }) => sum + Number(timings[step]), 0) / rows.length
    const steps = ['verify', 'decrypt', 'enrich', 'encrypt'].map((step) => [step, mean(step)])
    return { added: figuresOf(rows.map(({ added }) => Number(added))), steps: Object.fromEntries(steps) }
  })
}
