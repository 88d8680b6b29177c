import { join } from 'node:path'
import { createChildren } from '../../src/demo/children.ts'
import { type LoadSummary, runLoad } from '../../src/simulator/load.ts'
import { type Message, writeMessage } from '../../src/simulator/message.ts'
import type { ExchangeResult } from '../../src/simulator/meta-client.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { collectGarbage } from '../support/garbage.ts'
import { startHangingPort } from '../support/tenant.ts'
import { readClosedRows } from './closed-rows.ts'
import { watchCores } from './cores.ts'
import { registerWorkspaces, type Serving, serve, type Workspace } from './serving.ts'
import type { WireClient } from './wire-client.ts'

/**
 * Of the one tenant: it has no load, answers as all others do, takes requests and never answers, or takes no connection. `alive` has the load of
 * the dead without the death: what is slower there already is slower because more is asked of the machine.
 */
export type State = 'without' | 'alive' | 'silent' | 'unconnectable'

/**
 * The breaker looks back 30 s: `silent` comes after 30 s without calls and so opens it after 20, `unconnectable` in the midst of life, when there are as
 * many failures as there were answers. In `alive` it closes.
 */
const rotation: readonly State[] = ['without', 'silent', 'alive', 'unconnectable', 'alive']

export interface Segment {
  readonly state: State
  /** Waits of the other tenants' users, ms. */
  readonly others: readonly number[]
  /** Of those what Relevo added to their webhooks' time, by its own clock, ms: load, tenants and database share a core, and wait for each other there. */
  readonly othersAdded: readonly number[]
  readonly residentMiB: number
  /** CPU of the relay's process and use of the two cores by all, shares of 1. */
  readonly relayLoad: number
  readonly coreLoads: readonly number[]
  /** How far the load fell behind its clock at worst, ms. */
  readonly lagMs: number
}

/** One call to the one tenant while it was dead. */
export interface DeadCall {
  readonly segment: number
  readonly ms: number
  /** By Relevo's own clock, from the call's arrival to its answer. */
  readonly relayMs: number
  readonly outcome: string
}

type Wait = Pick<DeadCall, 'segment' | 'ms'>
type MeasuredSegment = Omit<Segment, 'othersAdded'> & { readonly from: Date; readonly to: Date }

export interface DeadTenantReport {
  readonly tenants: number
  readonly rate: number
  readonly seconds: number
  readonly segments: readonly Segment[]
  readonly dead: readonly DeadCall[]
  /** Of all tenants' calls: what was not as it should be. */
  readonly problems: ReadonlyMap<string, number>
  readonly notSent: number
  readonly exitCode: number | string | null
}

export interface DeadTenantPlan {
  readonly tenants: number
  /** Exchanges a second: so many of the one tenant, so many of all others together. */
  readonly rate: number
  /** Of each segment. */
  readonly seconds: number
  readonly segments: number
  readonly warmUpSeconds: number
  /** What the others' backends are given; 700 is what all are given, a slow machine may want more. The one tenant has the 700. */
  readonly timeoutMs: number
}

/** One tenant of many dies and lives again, in turn, in one run: what a noisy machine does to one segment it does to all. */
export async function deadTenantRun(databaseUrl: string, plan: DeadTenantPlan): Promise<DeadTenantReport> {
  const { tenants, rate, seconds } = plan
  // In a process of its own: within the load's, each would answer for the other's pauses.
  const children = createChildren(join(import.meta.dirname, '../..'), new AbortController().signal)
  const backendUrl = await children.start('tenant', ['test/durability/wire-tenant.ts'], {})
  const hanging = await startHangingPort()
  const urls = {
    alive: backendUrl,
    silent: new URL('/silent', backendUrl).href,
    unconnectable: `http://127.0.0.1:${hanging.port}/`,
  }
  const serving = await serve(databaseUrl)
  const [one, ...others] = await registerWorkspaces(serving, tenants, { url: backendUrl, timeoutMs: plan.timeoutMs })
  if (one === undefined) throw new Error('there must be a tenant to die')
  await one.api('PATCH', `/v1/webhooks/${one.webhookId}`, { timeoutMs: null })
  const problems = new Map<string, number>()
  const load = { problems, othersMeta: inTurn(others.map(({ meta }) => meta)), one, rate, serving }
  const waits = new Map<string, Wait>()
  const measured: MeasuredSegment[] = []
  let notSent = 0
  try {
    // What a process does for the first time is no measure.
    if (plan.warmUpSeconds > 0) await runSegment(load, 'without', plan.warmUpSeconds, () => undefined)
    for (let at = 0; at < plan.segments; at++) {
      const state = rotation[at % rotation.length] ?? 'without'
      if (state !== 'without') await one.api('PATCH', `/v1/webhooks/${one.webhookId}`, { url: urls[state] })
      const isDead = state === 'silent' || state === 'unconnectable'
      const ended = (token: string, ms: number) => isDead && waits.set(token, { segment: at, ms })
      const { segment, summaries } = await runSegment(load, state, seconds, ended)
      measured.push(segment)
      notSent += summaries.reduce((sum, summary) => sum + summary.notSent, 0)
    }
    const { dead, segments } = await withLog(databaseUrl, one.id, waits, measured)
    const exitCode = await serving.end()
    return { tenants, rate, seconds, segments, dead, problems, notSent, exitCode }
  } finally {
    for (const { meta } of [one, ...others]) meta.close()
    await children.stop()
    await hanging.close()
  }
}

interface Load {
  readonly serving: Serving
  readonly one: Workspace
  readonly othersMeta: WireClient
  readonly rate: number
  readonly problems: Map<string, number>
}

async function runSegment(
  { serving, one, othersMeta, rate, problems }: Load,
  state: State,
  seconds: number,
  ended: (flowToken: string, ms: number) => void,
): Promise<{ segment: MeasuredSegment; summaries: LoadSummary[] }> {
  const others: number[] = []
  const isDead = state === 'silent' || state === 'unconnectable'
  const count = Math.ceil(rate * seconds)
  const othersCalls = callsAhead(othersMeta, count, 'screen', (_, ms) => others.push(ms))
  const oneCalls = state === 'without' ? [] : callsAhead(one.meta, count, isDead ? 'fallback' : null, ended)
  // Else in the midst of the load, which then stands still.
  collectGarbage()
  const cpuBefore = await serving.metric('process_cpu_seconds_total')
  const [from, startedAt, coreLoads] = [new Date(), performance.now(), watchCores()]
  // At random: two loads at equal distances would meet at each call, or never.
  const loads = [
    { client: othersMeta, calls: othersCalls },
    { client: one.meta, calls: oneCalls },
  ].filter(({ calls }) => calls.length > 0)
  const summaries = await Promise.all(
    loads.map(({ client, calls }) => {
      const left = calls.values()
      return runLoad({ rate, seconds, arrivals: 'random', client, next: () => left.next().value as Call })
    }),
  )
  const cpuSeconds = (await serving.metric('process_cpu_seconds_total')) - cpuBefore
  for (const summary of summaries) {
    for (const [problem, count] of summary.problems) problems.set(problem, (problems.get(problem) ?? 0) + count)
  }
  const segment = {
    state,
    others,
    from,
    to: new Date(),
    residentMiB: (await serving.metric('process_resident_memory_bytes')) / 1024 / 1024,
    relayLoad: cpuSeconds / ((performance.now() - startedAt) / 1000),
    coreLoads: coreLoads(),
    lagMs: Math.max(...summaries.map(({ lagMs }) => lagMs)),
  }
  return { segment, summaries }
}

type Call = ReturnType<typeof call>

/** Sealed before the clock runs: load shares its core with the tenants and the database, and this was a third of what it took. */
function callsAhead(
  client: WireClient,
  count: number,
  kind: 'screen' | 'fallback' | null,
  ended: (flowToken: string, ms: number) => void,
): Call[] {
  const calls = Array.from({ length: count }, () => call(kind, ended))
  for (const { message } of calls) client.sealAhead(message)
  return calls
}

/** An INIT of somebody new. `kind`: what its answer must be; null: either, as the breaker of a tenant that lives again may still be open. */
function call(kind: 'screen' | 'fallback' | null, ended: (flowToken: string, ms: number) => void) {
  const flowToken = newFlowToken()
  const judge = (result: ExchangeResult) => {
    ended(flowToken, result.milliseconds)
    const isRight = result.status === 200 && (kind === null || result.kind === kind)
    return result.problem ?? (isRight ? null : `${result.status} ${result.kind} in place of ${kind ?? 'an answer'}`)
  }
  return { message: writeMessage({ name: 'open', action: 'INIT' }, flowToken), judge }
}

/** Each message goes to the client that sealed it. */
function inTurn(clients: readonly WireClient[]): WireClient {
  let turn = 0
  const sealers = new WeakMap<Message, WireClient>()
  return {
    sealAhead(message) {
      const client = clients[turn++ % clients.length] as WireClient
      sealers.set(message, client)
      client.sealAhead(message)
    },
    exchange: (message) => (sealers.get(message) as WireClient).exchange(message),
    close: () => undefined,
  }
}

function withLog(
  databaseUrl: string,
  workspaceId: string,
  waits: ReadonlyMap<string, Wait>,
  measured: readonly MeasuredSegment[],
): Promise<{ dead: DeadCall[]; segments: Segment[] }> {
  return readClosedRows(databaseUrl, async (sql) => {
    const rows = await sql`
      select flow_token, outcome, duration_ms from exchanges where workspace_id = ${workspaceId} order by id`
    const dead = rows.flatMap(({ flow_token, outcome, duration_ms }) => {
      const wait = waits.get(flow_token)
      return wait === undefined ? [] : [{ ...wait, relayMs: duration_ms, outcome }]
    })
    const segments: Segment[] = []
    for (const segment of measured) {
      const others = await sql`select duration_ms - webhook_ms as added from exchanges
        where workspace_id <> ${workspaceId} and created_at between ${segment.from} and ${segment.to} and webhook_ms is not null`
      segments.push({ ...segment, othersAdded: others.map(({ added }) => added) })
    }
    return { dead, segments }
  })
}
