import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { Message } from './message.ts'
import type { ExchangeResult, MetaClient } from './meta-client.ts'

export type LoadOptions = {
  client: MetaClient
  /** Exchanges a second, for that many seconds. */
  rate: number
  seconds: number
  /** `even`: at equal distances. `random`: as people come, who know nothing of each other (Poisson), at that rate on average. */
  arrivals?: 'even' | 'random'
  /** The next exchange's plaintext, and what is wrong with its answer (null: right). */
  next: () => { message: Message; judge: (result: ExchangeResult) => string | null }
  /** Exchanges under way at once; one that falls due above this is counted as not sent. */
  maxInFlight?: number
  /** Ends the sending early; what is under way is still awaited. */
  signal?: AbortSignal
}

export type LoadSummary = {
  planned: number
  sent: number
  right: number
  wrong: number
  /** `{"data":{"acknowledged":true}}` where a screen was expected. */
  fallback: number
  /** No HTTP answer at all. */
  lost: number
  notSent: number
  /** Of the calls that were answered, in ms, from the first byte out to the last byte in. */
  latency: { p50: number; p90: number; p99: number; max: number }
  /** How far the generator itself fell behind the clock at worst, in ms. */
  lagMs: number
  /** From the first sending to the last answer. */
  seconds: number
  problems: Map<string, number>
}

// Behind the clock the loop would never wait: it yields after this many, so that answers are read.
const sendsBeforeYield = 32

/**
 * An open-loop load: exchanges are sent when the clock says so, whether or not earlier ones were answered, because phones do
 * not wait for each other. A server that slows down cannot slow the load down and so hide it.
 */
export async function runLoad(options: LoadOptions): Promise<LoadSummary> {
  const { rate, seconds, arrivals = 'even', signal, maxInFlight = 1000 } = options
  const summary = emptySummary(Math.max(1, Math.round(rate * seconds)))
  const latencies: number[] = []
  const inFlight = new Set<Promise<void>>()
  const started = performance.now()
  const gapMs = () => ((arrivals === 'even' ? 1 : -Math.log(1 - Math.random())) * 1000) / rate
  let sinceYield = 0

  for (let index = 0, due = started; index < summary.planned && !signal?.aborted; index++, due += gapMs()) {
    const early = due - performance.now()
    if (early > 0) await wait(Math.ceil(early), signal)
    else if (++sinceYield % sendsBeforeYield === 0) await setImmediate()
    if (signal?.aborted) break
    summary.lagMs = Math.max(summary.lagMs, performance.now() - due)
    if (inFlight.size >= maxInFlight) {
      summary.notSent++
      continue
    }
    const one = sendOne(options, summary, latencies).finally(() => inFlight.delete(one))
    inFlight.add(one)
  }
  await Promise.all(inFlight)
  summary.seconds = (performance.now() - started) / 1000
  summary.latency = latencyOf(latencies)
  return summary
}

async function sendOne({ client, next }: LoadOptions, summary: LoadSummary, latencies: number[]): Promise<void> {
  const { message, judge } = next()
  summary.sent++
  const result = await client.exchange(message)
  if (result.status !== null) latencies.push(result.milliseconds)
  const problem = judge(result)
  if (problem === null) {
    summary.right++
    return
  }
  summary[result.kind === 'lost' || result.kind === 'fallback' ? result.kind : 'wrong']++
  summary.problems.set(problem, (summary.problems.get(problem) ?? 0) + 1)
}

function emptySummary(planned: number): LoadSummary {
  const counts = { sent: 0, right: 0, wrong: 0, fallback: 0, lost: 0, notSent: 0 }
  return { planned, ...counts, latency: latencyOf([]), lagMs: 0, seconds: 0, problems: new Map() }
}

async function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  // An abort only ends the wait early; the loop looks at the signal itself.
  await sleep(milliseconds, undefined, signal === undefined ? {} : { signal }).catch(() => undefined)
}

function latencyOf(latencies: readonly number[]): LoadSummary['latency'] {
  const sorted = Float64Array.from(latencies).sort()
  return {
    p50: percentile(sorted, 50),
    p90: percentile(sorted, 90),
    p99: percentile(sorted, 99),
    max: sorted.at(-1) ?? 0,
  }
}

/** Nearest rank: the smallest value that at least `percent` per cent of all do not exceed. 0 for none. */
export function percentile(sorted: Float64Array, percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0
}
