import fc from 'fast-check'
import type { TestDatabase } from '../support/database.ts'
import { collectGarbage } from '../support/garbage.ts'
import { Finding, type Target, type TargetKind } from './target.ts'
import { watchProcess } from './watch.ts'
import { openWorld, type World } from './world.ts'

export interface FuzzOptions {
  readonly cases: number
  /** Lanes take turns in them, each with its number added. */
  readonly seeds: readonly number[]
  /** Of fast-check: one case of one lane again, with the seed that was printed with it. */
  readonly path?: string
}

export interface Found {
  readonly what: string
  /** What `npm run fuzz` is to be told to see it again; null where no single case is to blame. */
  readonly again: string | null
  /** The smallest input that does it. */
  readonly input: string | null
}

export interface Report {
  readonly target: string
  readonly cases: number
  readonly seeds: readonly number[]
  /** Cases by what they ended in, the most frequent first. */
  readonly endings: readonly (readonly [string, number])[]
  /** Exchanges by outcome, as Relevo logged them. */
  readonly outcomes: readonly (readonly [string, number])[]
  readonly slowest: { readonly ms: number; readonly ending: string }
  readonly perSecond: number
  /** Bytes after a garbage collection: when the target was warm, at the end, and how much more than at first is allowed. */
  readonly heap: { readonly before: number; readonly after: number; readonly mayGrow: number }
  readonly unhandled: number
  /** Times that the database took more than 5 s for an operation. */
  readonly stalls: number
  readonly findings: readonly Found[]
}

type TargetReport = Omit<Report, 'outcomes' | 'unhandled' | 'stalls' | 'findings'>

/** Cases that run side by side, each lane on a connection of its own and with a seed of its own. */
const lanes = 8
/** With fewer cases than this, luck decides what is reached. */
const fewToReachAll = 200
/** How many smaller inputs are tried for one finding. */
const mostShrinks = 400

/**
 * What may be more in memory at the end than when it was warm, bytes. Repeats keep the answers of 10 minutes, at most 32 MiB of them (contract.md
 * §3): some 0.6 kB each, and more where a flow token is long. The rest is for compiled code, pools and counters; a leak of one envelope
 * a case would be 20 MB in 20,000 cases.
 */
const allowance = { base: 16 * 1024 * 1024, keptAnswer: 1000, keptAnswers: 32 * 1024 * 1024 }

/** Runs one target on a Relevo of its own, which is closed at the end. */
export async function fuzz(kind: TargetKind, database: TestDatabase, options: FuzzOptions): Promise<Report> {
  const processWatch = watchProcess()
  const found: Found[] = []
  try {
    const world = await openWorld(database, kind.environment)
    const report = await fuzzIn(world, kind, options, found).finally(async () => {
      found.push(...(await trouble(() => world.close())))
    })
    found.push(...[...world.findings, ...processWatch.faults].map(loose))
    return {
      ...report,
      outcomes: mostFirst(world.watch.outcomes),
      unhandled: processWatch.faults.length,
      stalls: world.watch.stalls,
      findings: found,
    }
  } finally {
    processWatch.stop()
  }
}

async function fuzzIn(world: World, kind: TargetKind, options: FuzzOptions, found: Found[]): Promise<TargetReport> {
  const target = await kind.make(world)
  const tally = new Tally(target)
  const warmUp = options.path === undefined ? Math.ceil(options.cases / 10) : 0
  found.push(
    ...(await runLanes(kind, tally, { ...options, seeds: options.seeds.map((seed) => seed + lanes), cases: warmUp })),
  )
  await world.settle()
  const before = heapAfterCollection()
  const startedAt = performance.now()
  const warm = tally.cases
  found.push(...(await runLanes(kind, tally, { ...options, cases: options.cases - warmUp })))
  const perSecond = (tally.cases - warm) / ((performance.now() - startedAt) / 1000)
  found.push(...(await trouble(() => endWell(world, target))))
  const after = heapAfterCollection()
  const kept = kind.leavesAnswers ? Math.min(tally.cases * allowance.keptAnswer, allowance.keptAnswers) : 0
  const mayGrow = allowance.base + kept
  if (after - before > mayGrow) found.push(loose(`the heap grew by ${((after - before) / 1e6).toFixed(1)} MB`))
  const missed = options.cases < fewToReachAll ? [] : kind.reaches.filter((ending) => !tally.endings.has(ending))
  found.push(...missed.map((ending) => loose(`no case ended in ${ending}: they do not go deep`)))
  const { cases, slowest } = tally
  const { name } = kind
  const endings = mostFirst(tally.endings)
  return { target: name, cases, seeds: options.seeds, endings, slowest, perSecond, heap: { before, after, mayGrow } }
}

/** Counts cases; what is run again to find a smaller input is not one. */
class Tally {
  readonly endings = new Map<string, number>()
  readonly target: Target<unknown>
  cases = 0
  slowest = { ms: 0, ending: '' }

  constructor(target: Target<unknown>) {
    this.target = target
  }

  async run(one: unknown, lane: number): Promise<void> {
    const startedAt = performance.now()
    const ending = await this.target.run(one, lane)
    const ms = performance.now() - startedAt
    if (ms > this.slowest.ms) this.slowest = { ms, ending }
    this.endings.set(ending, (this.endings.get(ending) ?? 0) + 1)
  }
}

async function runLanes(kind: TargetKind, tally: Tally, options: FuzzOptions): Promise<Found[]> {
  if (options.cases === 0) return []
  const perLane = Math.ceil(options.cases / lanes)
  const all = options.path === undefined ? Array.from({ length: lanes }, (_, lane) => lane) : [0]
  const found = await Promise.all(all.map((lane) => runLane(kind, tally, lane, perLane, options)))
  return found.flat()
}

async function runLane(
  kind: TargetKind,
  tally: Tally,
  lane: number,
  numRuns: number,
  { seeds, path }: FuzzOptions,
): Promise<Found[]> {
  let shrinks = -1
  const property = fc.asyncProperty(tally.target.cases, async (one) => {
    // Enough: fast-check is to stop at the smallest that it has.
    if (shrinks >= mostShrinks) return
    if (shrinks < 0) tally.cases++
    else shrinks++
    try {
      await tally.run(one, lane)
    } catch (error) {
      shrinks = Math.max(shrinks, 0)
      throw error
    }
  })
  const seed = (seeds[lane % seeds.length] ?? 0) + lane
  const result = await fc.check(property, { numRuns, seed, ...(path === undefined ? {} : { path }) })
  if (!result.failed || result.counterexample === null) return []
  const { errorInstance, counterexamplePath, counterexample } = result
  const what = errorInstance instanceof Finding ? errorInstance.message : nameOf(errorInstance)
  const again = `--only ${kind.name} --seed ${seed} --path ${counterexamplePath}`
  return [{ what, again, input: shortened(tally.target.show(counterexample[0])) }]
}

/** A fault of the fuzzer itself is to be seen, too. */
const nameOf = (error: unknown) =>
  error instanceof Error ? `${error.stack?.split('\n').slice(0, 3).join(' ')}` : String(error)

const loose = (what: string): Found => ({ what, again: null, input: null })

async function endWell(world: World, target: Target<unknown>): Promise<void> {
  await target.stillWorks()
  await target.close?.()
  await world.settle()
}

async function trouble(work: () => Promise<void>): Promise<Found[]> {
  try {
    await work()
    return []
  } catch (error) {
    return [loose(error instanceof Finding ? error.message : nameOf(error))]
  }
}

function shortened(text: string): string {
  const printable = JSON.stringify(text)
  return printable.length <= 1500 ? printable : `${printable.slice(0, 1400)}… (${text.length} characters)`
}

function mostFirst(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([, a], [, b]) => b - a)
}

/** Twice, because what finalizers let go of is collected by the next. */
function heapAfterCollection(): number {
  collectGarbage()
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
