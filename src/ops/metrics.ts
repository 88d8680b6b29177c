import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { DeliveryReason, DeliveryStatus } from '../domain/delivery.ts'
import { type Outcome, outcomeNames, outcomes } from '../domain/outcome.ts'
import type { BreakerState } from '../domain/webhook.ts'
import type { MetricsSnapshot } from './merged-metrics.ts'
import { catalogue, type MetricFacts, mostFlowKeys } from './metric-catalogue.ts'

/** Why an entry of Meta's webhook is not applied (contract.md §5). */
export type MetaEntryDrop = 'unknown_waba' | 'unverified' | 'signature'

export interface Metrics {
  /** Milliseconds from a call's arrival to its answer, once per call, whatever its outcome. */
  exchangeEnded(outcome: Outcome, durationMs: number): void
  /** Milliseconds from dispatch to the end of a webhook's answer. */
  webhookEnded(outcome: Outcome, durationMs: number): void
  /** An exchange got its fallback because Relevo itself has too much to do. */
  exchangeShed(reason: 'waited' | 'in_flight'): void
  connectionRefused(): void
  /** Has the gauges of load read whenever they are rendered. */
  watchLoad(read: () => Load): void
  /** By the flow key's id: tells when an old key is no longer used and can be retired. */
  flowKeyUsed(flowKeyId: string): void
  /** Milliseconds that an answer was ready before its row was. */
  answerWaited(durationMs: number): void
  /** Rows in memory alone. */
  rowsWaiting(count: number): void
  rowsSpooled(count: number, bytes: number): void
  rowsLost(count: number): void
  /** Milliseconds of one attempt of an asynchronous delivery, by where it left its delivery. */
  deliveryAttempted(status: DeliveryStatus, durationMs: number): void
  /** An attempt of an asynchronous delivery begins, `lateMs` after it was due. `attempt`: 1 for the first. */
  deliveryBegun(attempt: number, lateMs: number): void
  deliveryExhausted(reason: DeliveryReason): void
  /** Attempts of asynchronous deliveries. */
  deliveriesUnderWay(count: number): void
  /** How many deliveries wait in all, and for how long the one that is overdue longest has been due: seconds. Forgotten after a minute. */
  queueMeasured(depth: number, ageSeconds: number): void
  spansEnded(result: 'exported' | 'failed' | 'dropped', count: number): void
  /** Entries of Meta's webhooks that were not applied. */
  metaEntriesDropped(reason: MetaEntryDrop, count: number): void
  /** What Meta's webhooks told of. `ignored`: of a kind that is not known here, or about nobody's flow token. */
  metaEvents(field: 'messages' | 'flows' | 'other', result: 'applied' | 'duplicate' | 'ignored', count: number): void
  /** Rows for whose day there is no partition: told by the process that looks after partitions. */
  defaultPartitionRows(table: string, count: number): void
  /** A webhook's breaker is in another state now. */
  breakerMoved(to: BreakerState): void
  /** A single exchange was sent to find out whether a webhook is back. */
  breakerProbed(result: 'success' | 'failure' | 'neutral'): void
  /** `count`, of flows that are slow, is asked at each scrape. */
  watchFlows(count: () => number): void
  /** `count`, of breakers by state, is asked at each scrape. */
  watchBreakers(count: () => Readonly<Record<BreakerState, number>>): void
  /** Prometheus text format. */
  render(): Promise<string>
  /** To be merged with those of other processes. */
  snapshot(): Promise<MetricsSnapshot>
  readonly contentType: string
  /** Names of all metrics, of the process's own too. */
  readonly names: readonly string[]
}

/** How busy this process is now. */
export interface Load {
  readonly waiting: number
  readonly underWay: number
  /** The worst since the last reading, ms. */
  readonly loopDelayMs: number
}

/** What another process may measure from now on is not told by this one for ever: twice as long, and more, as it goes unmeasured, ms. Rows take up to 10 min to be moved. */
const measuredForMs = { queue: 60_000, defaultPartitions: 900_000 }

/** A registry of its own for each app, so that two in one process (tests) do not meet. */
export function createMetrics(now: () => number = () => performance.now()): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const all = { ...countersAndHistograms(registry), ...gauges(registry) }
  const exchangeEnded = countExchanges(registry)
  const flowKeyNames = new Set<string>()
  let load: (() => Load) | null = null
  let countBreakers: (() => Readonly<Record<BreakerState, number>>) | null = null
  let countSlowFlows: (() => number) | null = null
  const measuredAt = { queue: Number.NEGATIVE_INFINITY, defaultPartitions: Number.NEGATIVE_INFINITY }
  const isOld = (what: keyof typeof measuredForMs) => now() - measuredAt[what] > measuredForMs[what]

  function beforeRendering(): void {
    for (const [state, count] of Object.entries(countBreakers?.() ?? {})) all.breakers.set({ state }, count)
    all.slowFlows.set(countSlowFlows?.() ?? 0)
    const { waiting = 0, underWay = 0, loopDelayMs = 0 } = load?.() ?? {}
    all.exchangesWaiting.set(waiting)
    all.exchangesUnderWay.set(underWay)
    all.loopDelay.set(loopDelayMs / 1000)
    if (isOld('queue')) for (const gauge of [all.queueDepth, all.queueAge]) gauge.remove()
    if (isOld('defaultPartitions')) all.defaultPartitionRows.reset()
  }

  return {
    breakerMoved: (to) => all.breakerTransitions.inc({ to }),
    breakerProbed: (result) => all.breakerProbes.inc({ result }),
    watchBreakers: (count) => {
      countBreakers = count
    },
    watchFlows: (count) => {
      countSlowFlows = count
    },
    exchangeShed: (reason) => all.exchangesShed.inc({ reason }),
    connectionRefused: () => all.connectionsRefused.inc(),
    watchLoad: (read) => {
      load = read
    },
    deliveryAttempted: (status, durationMs) => all.deliveryAttempts.observe({ status }, durationMs / 1000),
    deliveryBegun: (attempt, lateMs) => {
      all.deliveryDelay.observe(Math.max(0, lateMs) / 1000)
      if (attempt > 1) all.deliveryRetries.inc()
    },
    deliveryExhausted: (reason) => all.deliveriesExhausted.inc({ reason }),
    deliveriesUnderWay: (count) => all.deliveriesUnderWay.set(count),
    queueMeasured: (depth, ageSeconds) => {
      measuredAt.queue = now()
      all.queueDepth.set(depth)
      all.queueAge.set(ageSeconds)
    },
    spansEnded: (result, count) => all.spans.inc({ result }, count),
    exchangeEnded: (outcome, durationMs) => {
      exchangeEnded(outcome)
      all.exchangeDuration.observe({ outcome }, durationMs / 1000)
    },
    webhookEnded: (outcome, durationMs) => all.webhookDuration.observe({ outcome }, durationMs / 1000),
    flowKeyUsed: (flowKeyId) => {
      const isTold = flowKeyNames.has(flowKeyId) || flowKeyNames.size < mostFlowKeys
      if (isTold) flowKeyNames.add(flowKeyId)
      all.flowKeyUses.inc({ flow_key: isTold ? flowKeyId : 'other' })
    },
    answerWaited: (durationMs) => all.answerWait.observe(durationMs / 1000),
    rowsWaiting: (count) => all.rowsWaiting.set(count),
    rowsSpooled: (count, bytes) => {
      all.spoolRows.set(count)
      all.spoolBytes.set(bytes)
    },
    rowsLost: (count) => all.rowsLost.inc(count),
    metaEntriesDropped: (reason, count) => all.metaEntriesDropped.inc({ reason }, count),
    metaEvents: (field, result, count) => all.metaEvents.inc({ field, result }, count),
    defaultPartitionRows: (table, count) => {
      measuredAt.defaultPartitions = now()
      all.defaultPartitionRows.set({ table }, count)
    },
    render: () => {
      beforeRendering()
      return registry.metrics()
    },
    snapshot: () => {
      beforeRendering()
      return registry.getMetricsAsJSON()
    },
    contentType: registry.contentType,
    names: registry.getMetricsAsArray().map(({ name }) => name),
  }
}

function countersAndHistograms(registry: Registry) {
  const counter = (facts: MetricFacts) => zeroed(new Counter(optionsOf(facts, registry)), facts)
  const histogram = (facts: MetricFacts) =>
    new Histogram({ ...optionsOf(facts, registry), buckets: [...(facts.buckets ?? [])] })
  return {
    exchangeDuration: histogram(catalogue.exchangeDuration),
    webhookDuration: histogram(catalogue.webhookDuration),
    exchangesShed: counter(catalogue.exchangesShed),
    flowKeyUses: counter(catalogue.flowKeyUses),
    connectionsRefused: counter(catalogue.connectionsRefused),
    answerWait: histogram(catalogue.answerWait),
    rowsLost: counter(catalogue.rowsLost),
    breakerTransitions: counter(catalogue.breakerTransitions),
    breakerProbes: counter(catalogue.breakerProbes),
    deliveryAttempts: histogram(catalogue.deliveryAttempts),
    deliveryRetries: counter(catalogue.deliveryRetries),
    deliveryDelay: histogram(catalogue.deliveryDelay),
    deliveriesExhausted: counter(catalogue.deliveriesExhausted),
    metaEntriesDropped: counter(catalogue.metaEntriesDropped),
    metaEvents: counter(catalogue.metaEvents),
    spans: counter(catalogue.spans),
  }
}

function gauges(registry: Registry) {
  const gauge = (facts: MetricFacts) => new Gauge(optionsOf(facts, registry))
  return {
    exchangesUnderWay: gauge(catalogue.exchangesUnderWay),
    slowFlows: gauge(catalogue.slowFlows),
    exchangesWaiting: gauge(catalogue.exchangesWaiting),
    loopDelay: gauge(catalogue.loopDelay),
    rowsWaiting: gauge(catalogue.rowsWaiting),
    spoolRows: gauge(catalogue.spoolRows),
    spoolBytes: gauge(catalogue.spoolBytes),
    breakers: gauge(catalogue.breakers),
    deliveriesUnderWay: gauge(catalogue.deliveriesUnderWay),
    queueDepth: gauge(catalogue.queueDepth),
    queueAge: gauge(catalogue.queueAge),
    defaultPartitionRows: gauge(catalogue.defaultPartitionRows),
  }
}

/** Counted in a plain object and told when rendered: what a counter with three labels costs is not for the exchange to pay. */
function countExchanges(registry: Registry): (outcome: Outcome) => void {
  const counts = Object.fromEntries(outcomeNames.map((name) => [name, 0])) as Record<Outcome, number>
  new Counter({
    ...optionsOf(catalogue.exchanges, registry),
    collect() {
      this.reset()
      for (const outcome of outcomeNames) {
        const { kind, fault } = outcomes[outcome]
        this.inc({ outcome, kind, fault }, counts[outcome])
      }
    },
  })
  return (outcome) => {
    counts[outcome]++
  }
}

/** A counter that is not there until something happens hides its first event from `rate`. */
function zeroed(counter: Counter, { labels }: MetricFacts): Counter {
  const entries = Object.entries(labels)
  if (entries.some(([, values]) => typeof values === 'string')) return counter
  let combinations: Record<string, string>[] = [{}]
  for (const [label, values] of entries) {
    combinations = combinations.flatMap((one) => [...values].map((value) => ({ ...one, [label]: value })))
  }
  for (const labelled of combinations) counter.inc(labelled, 0)
  return counter
}

function optionsOf({ name, help, labels, merged }: MetricFacts, registry: Registry) {
  return { name, help, labelNames: Object.keys(labels), aggregator: merged ?? ('sum' as const), registers: [registry] }
}
