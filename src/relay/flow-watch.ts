import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'

/** What is looked at: the current minute and those before it. Meta looks at 30, and at each flow by itself (protocol.md 2.9). */
const minutes = 5
/** Where our alerts are; Meta's first is at 1 s. */
const slowMs = 800
const slowShare = 0.1
/** Fewer calls tell nothing of a p90. */
const leastCalls = 20
/** Flows looked at by one process; others come in as these fall quiet. */
const mostFlows = 10_000
const mostNamed = 20

interface Watched {
  readonly workspaceId: string
  readonly calls: number[]
  readonly slow: number[]
  minute: number
  isSlow: boolean
}

/**
 * Knows which flows are slow to Meta, each by itself: one that is slow among a hundred that are not moves no percentile of all. How many there are
 * is a metric, because flows are the tenants' to make; which they are is in the log, and in `GET /v1/stats?flowId=`.
 */
export class FlowWatch {
  readonly #flows = new Map<string, Watched>()
  readonly #log: Log
  readonly #now: () => number

  /** `now`: monotonic milliseconds. */
  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log
    this.#now = now
  }

  /** An exchange of a flow was answered after `durationMs`. Cheap: an exchange waits. */
  ended(flowId: string, workspaceId: string, durationMs: number): void {
    const minute = this.#minute()
    let flow = this.#flows.get(flowId)
    if (flow === undefined) {
      if (this.#flows.size >= mostFlows) return
      flow = { workspaceId, calls: zeros(), slow: zeros(), minute, isSlow: false }
      this.#flows.set(flowId, flow)
    }
    moveTo(flow, minute)
    const cell = minute % minutes
    flow.calls[cell] = (flow.calls[cell] ?? 0) + 1
    if (durationMs > slowMs) flow.slow[cell] = (flow.slow[cell] ?? 0) + 1
  }

  /** How many flows are slow now. Tells of those that have become so since it was last asked. */
  countSlow(): number {
    const minute = this.#minute()
    const news: { flowId: string; workspaceId: string }[] = []
    let count = 0
    for (const [flowId, flow] of this.#flows) {
      moveTo(flow, minute)
      const [calls, slow] = [sum(flow.calls), sum(flow.slow)]
      const isSlow = calls >= leastCalls && slow > calls * slowShare
      if (isSlow) count++
      if (isSlow && !flow.isSlow) news.push({ flowId, workspaceId: flow.workspaceId })
      flow.isSlow = isSlow
      if (calls === 0) this.#flows.delete(flowId)
    }
    if (news.length > 0) {
      const named = news.slice(0, mostNamed)
      this.#log.warn(
        { flows: named, count: news.length },
        'flows are slow: more than a tenth of their answers took over 0.8 s',
      )
    }
    return count
  }

  #minute(): number {
    return Math.floor(this.#now() / 60_000)
  }
}

/** One that the metrics ask. */
export function watchFlows(log: Log, metrics: Pick<Metrics, 'watchFlows'>): FlowWatch {
  const watch = new FlowWatch(log)
  metrics.watchFlows(() => watch.countSlow())
  return watch
}

/** Forgets the minutes that are over. */
function moveTo(flow: Watched, minute: number): void {
  for (let passed = Math.max(flow.minute + 1, minute - minutes + 1); passed <= minute; passed++) {
    flow.calls[passed % minutes] = 0
    flow.slow[passed % minutes] = 0
  }
  flow.minute = minute
}

const zeros = () => new Array<number>(minutes).fill(0)
const sum = (counts: readonly number[]) => counts.reduce((all, count) => all + count, 0)
