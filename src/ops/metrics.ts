import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { DeliveryStatus } from '../domain/delivery.ts'
import type { Outcome } from '../domain/outcome.ts'
import type { BreakerState } from '../domain/webhook.ts'
import type { MetricsSnapshot } from './merged-metrics.ts'

// Meta's thresholds (1, 5, 7 s: protocol.md 2.9) and our deadline (0.7 s) are bounds, so that the share beyond each is exact.
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.7, 0.75, 1, 2.5, 5, 7, 10]

const waitBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5]

/** Why an entry of Meta's webhook is not applied (contract.md §5). */
export type MetaEntryDrop = 'unknown_waba' | 'other_waba' | 'unverified' | 'signature'

export interface Metrics {
  /** Milliseconds from a call's arrival to its answer, once per call, whatever its outcome. */
  exchangeEnded(outcome: Outcome, durationMs: number): void
  /** Milliseconds from dispatch to the end of a webhook's answer. */
  webhookEnded(outcome: Outcome, durationMs: number): void
  /** An exchange got its fallback because Relevo itself has too much to do. */
  exchangeShed(reason: string): void
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
  /** Attempts of asynchronous deliveries. */
  deliveriesUnderWay(count: number): void
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
  /** `count`, of breakers by state, is asked at each scrape. */
  watchBreakers(count: () => Readonly<Record<BreakerState, number>>): void
  /** Prometheus text format. */
  render(): Promise<string>
  /** To be merged with those of other processes. */
  snapshot(): Promise<MetricsSnapshot>
  readonly contentType: string
}

/** How busy this process is now. */
export interface Load {
  readonly waiting: number
  readonly underWay: number
  /** The worst since the last reading, ms. */
  readonly loopDelayMs: number
}

/** A registry of its own for each app, so that two in one process (tests) do not meet. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const exchange = new Histogram({
    name: 'relevo_exchange_duration_seconds',
    help: 'Calls of Meta from arrival to answer, by outcome',
    labelNames: ['outcome'],
    buckets,
    registers,
  })
  const webhook = new Histogram({
    name: 'relevo_webhook_duration_seconds',
    help: 'Requests to webhooks from dispatch to the end of the answer, by the outcome of the exchange',
    labelNames: ['outcome'],
    buckets,
    registers,
  })
  const keyUses = new Counter({
    name: 'relevo_flow_key_uses_total',
    help: 'Calls of Meta opened, by the flow key that opened them',
    labelNames: ['flow_key'],
    registers,
  })
  const wait = new Histogram({
    name: 'relevo_recorder_answer_wait_seconds',
    help: 'How long answers that were ready waited until their rows were on a disk',
    buckets: waitBuckets,
    registers,
  })
  const waiting = new Gauge({ name: 'relevo_recorder_rows_waiting', help: 'Rows on no disk yet', registers })
  const spooled = new Gauge({
    name: 'relevo_spool_rows',
    help: 'Rows on this disk, not yet in the database',
    registers,
  })
  const spoolBytes = new Gauge({ name: 'relevo_spool_bytes', help: 'Bytes of these rows', registers })
  const lost = new Counter({ name: 'relevo_recorder_rows_lost_total', help: 'Rows given up on', registers })
  const attempt = new Histogram({
    name: 'relevo_delivery_attempt_duration_seconds',
    help: 'Attempts of asynchronous deliveries from dispatch to the end of the answer, by where they left the delivery',
    labelNames: ['status'],
    buckets: [...buckets, 15],
    registers,
  })
  const underWay = new Gauge({
    name: 'relevo_delivery_attempts_under_way',
    help: 'Attempts of asynchronous deliveries under way in this process',
    registers,
  })
  const drops = new Counter({
    name: 'relevo_meta_entries_dropped_total',
    help: "Entries of Meta's webhooks that were not applied, by reason",
    labelNames: ['reason'],
    registers,
  })
  const told = new Counter({
    name: 'relevo_meta_events_total',
    help: "Messages, notices and other changes in Meta's webhooks, by field and what came of them",
    labelNames: ['field', 'result'],
    registers,
  })
  const defaultPartition = new Gauge({
    name: 'relevo_default_partition_rows',
    help: 'Rows for whose day there is no partition, by table',
    labelNames: ['table'],
    registers,
  })
  let countBreakers: (() => Readonly<Record<BreakerState, number>>) | null = null
  new Gauge({
    name: 'relevo_breakers',
    help: 'Webhooks that this process called lately, by the state of their breakers',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, count] of Object.entries(countBreakers?.() ?? {})) this.set({ state }, count)
    },
  })
  const moves = new Counter({
    name: 'relevo_breaker_transitions_total',
    help: 'Changes of breakers by their new state; half_open counts when the first probe goes out',
    labelNames: ['to'],
    registers,
  })
  const probes = new Counter({
    name: 'relevo_breaker_probes_total',
    help: 'Single exchanges that found out whether a webhook is back; neutral: nothing was learnt',
    labelNames: ['result'],
    registers,
  })
  const shed = new Counter({
    name: 'relevo_exchanges_shed_total',
    help: 'Exchanges answered with the fallback because Relevo itself had too much to do, by reason',
    labelNames: ['reason'],
    registers,
  })
  const refused = new Counter({
    name: 'relevo_connections_refused_total',
    help: 'Connections refused because not even fallbacks could be kept up, or because too many were open',
    registers,
  })
  return {
    breakerMoved: (to) => moves.inc({ to }),
    breakerProbed: (result) => probes.inc({ result }),
    watchBreakers: (count) => {
      countBreakers = count
    },
    exchangeShed: (reason) => shed.inc({ reason }),
    connectionRefused: () => refused.inc(),
    watchLoad: (read) => watchLoad(read, registers),
    deliveryAttempted: (status, durationMs) => attempt.observe({ status }, durationMs / 1000),
    deliveriesUnderWay: (count) => underWay.set(count),
    exchangeEnded: (outcome, durationMs) => exchange.observe({ outcome }, durationMs / 1000),
    webhookEnded: (outcome, durationMs) => webhook.observe({ outcome }, durationMs / 1000),
    flowKeyUsed: (flowKeyId) => keyUses.inc({ flow_key: flowKeyId }),
    answerWaited: (durationMs) => wait.observe(durationMs / 1000),
    rowsWaiting: (count) => waiting.set(count),
    rowsSpooled: (count, bytes) => {
      spooled.set(count)
      spoolBytes.set(bytes)
    },
    rowsLost: (count) => lost.inc(count),
    metaEntriesDropped: (reason, count) => drops.inc({ reason }, count),
    metaEvents: (field, result, count) => told.inc({ field, result }, count),
    defaultPartitionRows: (table, count) => defaultPartition.set({ table }, count),
    render: () => registry.metrics(),
    snapshot: () => registry.getMetricsAsJSON(),
    contentType: registry.contentType,
  }
}

function watchLoad(read: () => Load, registers: Registry[]): void {
  const under = new Gauge({ name: 'relevo_exchanges_under_way', help: 'Exchanges begun and not ended', registers })
  const delay = new Gauge({
    name: 'relevo_event_loop_delay_seconds',
    help: 'The worst delay of a timer since the last scrape',
    aggregator: 'max',
    registers,
  })
  new Gauge({
    name: 'relevo_exchanges_waiting',
    help: 'Exchanges that wait for their turn',
    registers,
    // One reading sets all three.
    collect() {
      const { waiting, underWay, loopDelayMs } = read()
      this.set(waiting)
      under.set(underWay)
      delay.set(loopDelayMs / 1000)
    },
  })
}
