import { setTimeout as delay } from 'node:timers/promises'
import { type LoadSummary, runLoad } from '../../src/simulator/load.ts'
import { type Message, writeMessage } from '../../src/simulator/message.ts'
import type { ExchangeResult } from '../../src/simulator/meta-client.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { startTenant } from '../support/tenant.ts'
import { readClosedRows } from './closed-rows.ts'
import { watchCores } from './cores.ts'
import { type Deeds, failingObserver, failingTenant, hangingObserver, replyFor } from './failing-tenant.ts'
import { complaintsIn, insideEnvironment, lookInside, type Sample } from './inside.ts'
import { registerWorkspaces, type Serving, serve, type Workspace } from './serving.ts'
import { type Standstill, watchStandstills } from './standstills.ts'

export interface MixedPlan {
  /** Exchanges a second; null: what keeps the relay's core half busy, and the one that load, tenants and database share below seven tenths. */
  readonly rate: number | null
  readonly seconds: number
  /** What is measured of memory, handles and timers is measured after these. */
  readonly warmUpSeconds: number
  readonly lookEverySeconds: number
  /** After so many seconds of load it stops until nothing is under way, and the heap is collected and looked into. Null: never. */
  readonly restEverySeconds: number | null
  /** Counts living objects before and after, which takes a slow machine many seconds. */
  readonly walksHeap: boolean
  /** Off: where the machine is too slow for the load, the breaker does not make something else of it. */
  readonly breaker: 'on' | 'off'
}

export interface FoundRate {
  readonly rate: number
  /** Exchanges a second that would keep the relay's core wholly busy. */
  readonly capacity: number
  /** The rate is what the other core bears. */
  readonly isOfRig: boolean
}

/** One call as Meta saw it, at `performance.now()`. */
export interface Call {
  readonly sentAt: number
  readonly answeredAt: number
  readonly kind: ExchangeResult['kind']
}

/** What the log has of an exchange. */
export interface LoggedExchange {
  readonly flow_token: string
  readonly outcome: string
  readonly reason: string | null
  readonly webhook_ms: number | null
  readonly timings: { readonly webhook: number; readonly encrypt: number }
}

export interface MixedReport extends MixedPlan {
  readonly rate: number
  /** What the rate was found by; null where it was given. */
  readonly found: FoundRate | null
  readonly summary: Omit<LoadSummary, 'latency' | 'seconds'>
  readonly statuses: ReadonlyMap<number | null, number>
  readonly calls: ReadonlyMap<string, Call>
  readonly deeds: Deeds
  readonly log: readonly LoggedExchange[]
  /** Of those who are told and not asked, by status. */
  readonly deliveries: Readonly<Record<string, number>>
  readonly attempts: number
  /** Without load before it, under load, when it rests, at the end without load. */
  readonly idleBefore: Sample
  readonly samples: readonly Sample[]
  readonly rests: readonly Sample[]
  readonly idleAfter: Sample
  readonly startedAt: number
  readonly standstills: readonly Standstill[]
  /** Connections that Relevo says it refused. */
  readonly refusedConnections: number
  readonly relayLoad: number
  readonly coreLoads: readonly number[]
  readonly complaints: readonly string[]
  readonly exitCode: number | string | null
}

/** A load of which three tenths of all calls to the tenant fail in every way we know, with observers that fail too. */
export async function mixedRun(databaseUrl: string, plan: MixedPlan): Promise<MixedReport> {
  let share = 0
  const deeds: Deeds = new Map()
  const tenant = await startTenant({ forgets: true })
  tenant.always(failingTenant(() => share, deeds))
  const observers = await startTenant({ forgets: true })
  const [observer, ofFallbacks] = [failingObserver(), hangingObserver()]
  observers.always((call) => (call.received.path === fallbacksPath ? ofFallbacks : observer)(call))
  const peers = { tenant: tenant.url, observers: observers.url, database: databaseUrl }
  const serving = await serve(databaseUrl, insideEnvironment(peers))
  const [workspace] = await registerWorkspaces(serving, 1, { url: tenant.url })
  if (workspace === undefined) throw new Error('no workspace')
  await addObservers(workspace, observers.url)
  await workspace.api('PATCH', `/v1/webhooks/${workspace.webhookId}`, { breaker: { mode: plan.breaker } })
  try {
    share = 0.3
    const found = plan.rate === null ? await findRate(serving, workspace, plan) : null
    const rate = plan.rate ?? found?.rate ?? Number.NaN
    if (found !== null) await untilIdle(serving)
    deeds.clear()
    const idleBefore = await lookInside(serving.relevo, plan.walksHeap)
    const under = await underLoad(serving, workspace, { ...plan, rate })
    share = 0
    workspace.meta.close()
    await untilIdle(serving)
    const idleAfter = await lookInside(serving.relevo, plan.walksHeap)
    const logged = await readLog(databaseUrl, under.calls)
    const exitCode = await serving.end()
    const complaints = complaintsIn(serving.relevo.output())
    return { ...plan, rate, found, ...under, deeds, ...logged, idleBefore, idleAfter, complaints, exitCode }
  } finally {
    workspace.meta.close()
    await tenant.close()
    await observers.close()
  }
}

const fallbacksPath = '/fallbacks'

/** Connections that idle are closed after some 4 s, late replies are listened for for 5 s; what is there much later stays for ever. */
async function untilIdle({ relevo }: Serving): Promise<void> {
  for (const endsAt = performance.now() + 20_000; performance.now() < endsAt; await delay(500)) {
    const { sockets } = await lookInside(relevo)
    if (sockets.tenant === 0) return
  }
}

async function addObservers({ api }: Workspace, url: string): Promise<void> {
  await api('POST', '/v1/webhooks', { name: 'Observer', url, events: ['whatsapp.flows.exchanges'] })
  const ofFallbacks = { url: new URL(fallbacksPath, url).href, events: ['whatsapp.flows.fallback'] }
  await api('POST', '/v1/webhooks', { name: 'Fallbacks', ...ofFallbacks })
}

/** As {@link MixedPlan.rate} says, by how busy both cores are: under a load that any machine bears, then under what that allows, as more at once costs less each. */
async function findRate(serving: Serving, workspace: Workspace, plan: MixedPlan): Promise<FoundRate> {
  let found: FoundRate = { rate: 60, capacity: Number.NaN, isOfRig: false }
  for (let trial = 0; trial < 2; trial++) {
    const { rate } = found
    const { relayLoad, coreLoads } = await underLoad(serving, workspace, {
      ...plan,
      rate,
      seconds: 30,
      lookEverySeconds: 60,
      restEverySeconds: null,
    })
    const [ofRelay, ofRig] = [(rate * 0.5) / relayLoad, (rate * 0.7) / (coreLoads[1] ?? Number.NaN)]
    const isOfRig = ofRig < ofRelay
    found = { rate: isOfRig ? ofRig : ofRelay, capacity: ofRelay * 2, isOfRig }
  }
  return found
}

/** INIT, data_exchange and BACK at random, each of somebody new. */
function someMessage(flowToken: string): Message {
  const step = { name: 'any', screen: 'FORM', data: { note: 'made up' } }
  const action = (['INIT', 'data_exchange', 'BACK'] as const)[Math.floor(Math.random() * 3)] ?? 'INIT'
  return writeMessage(action === 'INIT' ? { name: 'any', action } : { ...step, action }, flowToken)
}

async function underLoad(serving: Serving, { meta }: Workspace, plan: MixedPlan & { rate: number }) {
  const calls = new Map<string, Call>()
  const statuses = new Map<number | null, number>()
  const next = () => {
    const [flowToken, sentAt] = [newFlowToken(), performance.now()]
    const judge = ({ status, kind, problem, answer }: ExchangeResult) => {
      calls.set(flowToken, { sentAt, answeredAt: performance.now(), kind })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (problem !== null || kind === 'fallback') return problem
      const isReply = kind === 'screen' && JSON.stringify(answer) === JSON.stringify(replyFor(flowToken))
      return isReply ? null : `${status} ${kind}: neither this call's reply nor the fallback`
    }
    return { message: someMessage(flowToken), judge }
  }
  const [startedAt, coreLoads, endWatch] = [performance.now(), watchCores(), watchStandstills()]
  const cpuBefore = await serving.metric('process_cpu_seconds_total')
  const summary = { ...nothingSent(), problems: new Map<string, number>() }
  const [samples, rests]: [Sample[], Sample[]] = [[], []]
  const spanSeconds = plan.restEverySeconds ?? plan.seconds
  for (let left = plan.seconds; left > 0; left -= spanSeconds) {
    const seconds = Math.min(left, spanSeconds)
    const looking = look(serving, plan.lookEverySeconds, seconds)
    addTo(summary, await runLoad({ client: meta, rate: plan.rate, seconds, next }))
    samples.push(...(await looking))
    if (plan.restEverySeconds === null) continue
    // A burst leaves connections that weigh 20 kB each on the relay's heap.
    meta.close()
    await untilIdle(serving)
    rests.push(await lookInside(serving.relevo, true))
  }
  const standstills = endWatch()
  const cpuSeconds = (await serving.metric('process_cpu_seconds_total')) - cpuBefore
  const relayLoad = cpuSeconds / ((performance.now() - startedAt) / 1000)
  const refusedConnections = await serving.metric('relevo_connections_refused_total')
  const machine = { startedAt, standstills, relayLoad, coreLoads: coreLoads() }
  return { summary, calls, statuses, samples, rests, refusedConnections, ...machine }
}

const nothingSent = () => ({ planned: 0, sent: 0, right: 0, wrong: 0, fallback: 0, lost: 0, notSent: 0, lagMs: 0 })

function addTo(
  summary: { -readonly [K in keyof MixedReport['summary']]: MixedReport['summary'][K] },
  span: LoadSummary,
) {
  for (const count of ['planned', 'sent', 'right', 'wrong', 'fallback', 'lost', 'notSent'] as const)
    summary[count] += span[count]
  summary.lagMs = Math.max(summary.lagMs, span.lagMs)
  for (const [problem, times] of span.problems)
    summary.problems.set(problem, (summary.problems.get(problem) ?? 0) + times)
}

async function look({ relevo }: Serving, everySeconds: number, seconds: number): Promise<Sample[]> {
  const samples: Sample[] = []
  const startedAt = performance.now()
  const endsAt = startedAt + seconds * 1000
  const everyMs = everySeconds * 1000
  for (let due = startedAt + everyMs; due < endsAt - everyMs / 2; due += everyMs) {
    await delay(due - performance.now())
    samples.push(await lookInside(relevo))
  }
  return samples
}

function readLog(databaseUrl: string, calls: ReadonlyMap<string, Call>) {
  return readClosedRows(databaseUrl, async (sql) => {
    const rows = await sql<
      LoggedExchange[]
    >`select flow_token, outcome, reason, webhook_ms, timings from exchanges order by id`
    const statuses = await sql`select status, count(*)::int as count from deliveries group by 1 order by 1`
    const [attempts] = await sql`select count(*)::int as count from attempts`
    return {
      log: rows.filter((row) => calls.has(row.flow_token)),
      deliveries: Object.fromEntries(statuses.map(({ status, count }) => [status, count])),
      attempts: Number(attempts?.count),
    }
  })
}
