import { readClosedRows } from '../../test/durability/closed-rows.ts'
import { figuresOf } from '../../test/durability/figures.ts'
import { closedLoad, openLoad, type Tally } from '../../test/durability/overload-load.ts'
import { type LoadedRelevo, startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Finding, ms, type Part, whole } from '../part.ts'
import { manyAtOnce, wrongIn } from './throughput.ts'

/**
 * (c): what Relevo adds, total less webhook time by the rows' own clocks, and what Meta's side saw in all; one at a time, at half and at four
 * fifths of the capacity that is found first. Calls come when a plan says so, whatever came of those before.
 */
export const latency: Part = async function* ({ warmUp, seconds }) {
  const findings = await withSurroundings(async (surroundings) => {
    const relevo = await startLoaded(surroundings)
    await relevo.play(warmUp, 16)
    const { replied, seconds: took } = await closedLoad(relevo.call, manyAtOnce, Math.min(15, seconds))
    const capacity = replied / took
    const loads: [string, () => Promise<Tally>][] = [
      ['one at a time', () => closedLoad(relevo.call, 1, seconds)],
      [`at 50 %, ${whole(capacity / 2)}/s`, () => openLoad(relevo.call, capacity / 2, seconds)],
      [`at 80 %, ${whole(capacity * 0.8)}/s`, () => openLoad(relevo.call, capacity * 0.8, seconds)],
    ]
    const found: Finding[] = [['capacity that loads are shares of', `${whole(capacity)}/s`]]
    for (const [name, load] of loads) found.push(...(await measure(relevo, name, load)))
    await relevo.end()
    return found
  })
  yield* findings
}

async function measure(relevo: LoadedRelevo, name: string, load: () => Promise<Tally>): Promise<Finding[]> {
  const waitsOf = async () => {
    const metric = 'relevo_recorder_answer_wait_seconds'
    return [await relevo.serving.metric(`${metric}_sum`), await relevo.serving.metric(`${metric}_count`)] as const
  }
  const [sumBefore, countBefore] = await waitsOf()
  const since = new Date()
  const tally = await load()
  const [sum, count] = await waitsOf()
  const added = figuresOf(await addedSince(relevo.databaseUrl, since))
  const seen = figuresOf(tally.latencies)
  const line = (figures: typeof added) =>
    [figures.p50, figures.p99, figures.p999].map((value) => value.toFixed(2)).join(', ')
  const findings: Finding[] = [
    [`${name}: added latency p50, p99, p99.9`, `${line(added)} ms, of ${whole(added.count)}`],
    [`${name}: at Meta’s side, with the tenant’s time`, `${line(seen)} ms`],
    [`${name}: of it, mean wait for the row`, ms(((sum - sumBefore) / (count - countBefore)) * 1000, 2)],
  ]
  // The load's own delay is in neither figure, and says whether the plan was kept.
  if (tally.lagMs > 0) findings.push([`${name}: the load was late by at most`, ms(tally.lagMs, 1)])
  if (tally.wrong.size > 0) findings.push([`${name}: answers that were not the tenant’s`, wrongIn(tally)])
  return findings
}

function addedSince(databaseUrl: string, since: Date): Promise<number[]> {
  return readClosedRows(databaseUrl, async (sql) => {
    const rows = await sql`
      select duration_ms - webhook_ms as added from exchanges where outcome = 'replied' and created_at >= ${since}`
    return rows.map(({ added }) => Number(added))
  })
}
