import { readFile } from 'node:fs/promises'
import { eventually } from '../support/eventually.ts'
import type { RelevoProcess } from '../support/process.ts'
import { type Comparison, compare, createRig, type MetaLedger, type Rig, type ToldOf, toldOf } from './rig.ts'

const [api, sharing, alone, worker] = [0, 1, 2, 3]
/** Of `sharing`, two processes behind one port. */
const instances = [
  { ROLE: 'api' },
  { ROLE: 'relay', WORKERS: '2', LOG_LEVEL: 'info' },
  { ROLE: 'relay' },
  { ROLE: 'worker' },
]
const repliedCount = 'relevo_exchange_duration_seconds_count{outcome="replied"}'
const patient = { timeoutMs: 60_000 }

export interface RolesReport extends Comparison, ToldOf {
  readonly ledger: MetaLedger
  readonly kills: number
  readonly shared: SharedReport
  /** Of all, after SIGTERM. */
  readonly exits: readonly (number | string | null)[]
  /** Processes that outlived the one that started them. */
  readonly orphans: number
  readonly endMs: number
}

/** How two processes behind one port did. */
export interface SharedReport {
  /** How many of them had answered exchanges. */
  readonly served: number
  /** Exchanges that their log had and their metrics had not. */
  readonly uncounted: number
  /** After one was killed and another came in its place. */
  readonly restarts: number
  /** By how much the count of exchanges had fallen then. */
  readonly fell: number
}

/**
 * Two relays, one of them two processes, an api and a worker behind a load balancer, under load; each is killed and started again, `all`: also the
 * process that started the two.
 */
export async function rolesRun(databaseUrl: string, rate: number, all: boolean): Promise<RolesReport> {
  const { rig, first } = await createRig(databaseUrl, instances)
  try {
    const running = [first, ...(await Promise.all([sharing, alone, worker].map((instance) => rig.start(instance))))]
    const enough = new AbortController()
    const loading = rig.load(rate, 3600, enough.signal)
    let kills = 1
    const kill = async (instance: number) => {
      await someAnswers(rig)
      running[instance]?.child.kill('SIGKILL')
      await running[instance]?.ended()
      await someAnswers(rig)
      running[instance] = await rig.start(instance)
      kills++
    }
    // First, because what it had taken is taken up by the next one after up to 45 s: contract.md §4.
    await kill(worker)
    const shared = await killOneOf(rig, running[sharing] as RelevoProcess)
    for (const instance of all ? [alone, api, sharing] : [alone, api]) await kill(instance)
    await someAnswers(rig)
    enough.abort()
    const ledger = await loading
    const told = await toldOf(rig, ledger, 60_000)
    const children = await childrenOf(running[sharing]?.pid ?? 0)
    const startedAt = performance.now()
    for (const { child } of running) child.kill('SIGTERM')
    const exits = await Promise.all(running.map((relevo) => relevo.ended()))
    const endMs = performance.now() - startedAt
    const orphans = children.filter(isAlive).length
    return { ledger, kills, shared, exits, orphans, endMs, ...told, ...(await compare(databaseUrl, ledger)) }
  } finally {
    await rig.close()
  }
}

async function killOneOf(rig: Rig, relevo: RelevoProcess): Promise<SharedReport> {
  const lines = () => exchangesByProcess(relevo.output())
  await eventually(() => [...lines().values()].filter((count) => count >= 10).length === 2, patient)
  const [served, logged] = [lines().size, [...lines().values()].reduce((sum, count) => sum + count, 0)]
  const counted = await rig.metric(repliedCount, sharing)
  const [victim = 0, ...others] = await childrenOf(relevo.pid)
  process.kill(victim, 'SIGKILL')
  const isNew = (pid: number) => pid !== victim && !others.includes(pid)
  await eventually(() => [...lines().keys()].some(isNew), patient)
  const fell = counted - (await rig.metric(repliedCount, sharing))
  const restarts = await rig.metric('relevo_process_restarts_total', sharing)
  return { served, uncounted: Math.max(0, logged - counted), restarts, fell: Math.max(0, fell) }
}

async function someAnswers(rig: Rig): Promise<void> {
  const answered = rig.answered()
  await eventually(() => rig.answered() >= answered + 10, patient)
}

/** Replies in the log, by pid. */
function exchangesByProcess(output: string): Map<number, number> {
  const counts = new Map<number, number>()
  for (const [, pid] of output.matchAll(
    /^\{"level":"info".*"pid":(\d+),.*"outcome":"replied".*"msg":"exchange"\}$/gm,
  )) {
    counts.set(Number(pid), (counts.get(Number(pid)) ?? 0) + 1)
  }
  return counts
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text.trim().split(' ').filter(Boolean).map(Number)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

export function printRoles({ ledger, kills, shared, exits, orphans, endMs, ...log }: RolesReport): void {
  const { sent, answered, summary } = ledger
  const { p50, p99 } = summary.latency
  console.log(`SIGKILLs                  ${kills}, each role at least once`)
  console.log(`exchanges sent            ${sent.size}, answered with the tenant's reply ${answered.size}`)
  console.log(`latency p50, p99          ${p50.toFixed(1)}, ${p99.toFixed(1)} ms`)
  console.log(`other answers             wrong ${summary.wrong}, fallback ${summary.fallback}, none ${summary.lost}`)
  console.log(`rows in the log           ${log.rows} ${JSON.stringify(log.outcomes)}`)
  console.log(`answered and not logged   ${log.lost}; logged twice ${log.twice}, never sent ${log.unknown}`)
  console.log(`answered and not told     ${log.untold}; told again ${log.toldAgain}`)
  console.log(`two behind one port       ${JSON.stringify(shared)}`)
  console.log(`exit codes after SIGTERM  ${exits.join(', ')} in ${Math.round(endMs)} ms, orphans ${orphans}`)
}
