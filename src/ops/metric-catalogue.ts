import { deliveryReasons, deliveryStatuses } from '../domain/delivery.ts'
import { outcomeNames } from '../domain/outcome.ts'

/** Which part of Relevo feeds a metric, and so where to look when it is strange. */
type Owner = 'relay' | 'recorder' | 'breakers' | 'deliveries' | 'meta webhooks' | 'maintenance' | 'server' | 'traces'

export interface MetricFacts {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly owner: Owner
  readonly help: string
  /** Each label with the values it can have: a closed list, or the words that say what bounds them. */
  readonly labels: Readonly<Record<string, readonly string[] | string>>
  /** What several processes' values make together, where that is not their sum. */
  readonly merged?: 'max'
  /** Seconds. */
  readonly buckets?: readonly number[]
}

// Meta's thresholds (1, 5, 7 s: protocol.md 2.9), our deadline (0.7 s) and where our alert is (0.8 s) are bounds, so that the share beyond each
// is exact; past 10 s Meta has given up (protocol.md 1.8).
const durations = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.7, 0.75, 0.8, 1, 2.5, 5, 7, 10] as const
const waits = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5] as const
const delays = [0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 3600] as const

/** Flow keys told apart by one process; those used first after that are told together. */
export const mostFlowKeys = 10_000

/**
 * Every metric of Relevo's own. Labels have closed lists of values: what tenants name or number (workspaces, flows, webhooks) has figures in
 * `GET /v1/stats`. The one exception is bounded by {@link mostFlowKeys}.
 */
export const catalogue = {
  exchanges: {
    name: 'relevo_exchanges_total',
    type: 'counter',
    owner: 'relay',
    help: 'Calls of Meta that ended, by outcome, what kind of answer that is, and whose fault',
    labels: {
      outcome: outcomeNames,
      kind: ['answer', 'fallback', 'refusal'],
      fault: ['none', 'tenant', 'meta', 'relevo'],
    },
  },
  exchangeDuration: {
    name: 'relevo_exchange_duration_seconds',
    type: 'histogram',
    owner: 'relay',
    help: 'Calls of Meta from arrival to answer, by outcome',
    labels: { outcome: outcomeNames },
    buckets: durations,
  },
  webhookDuration: {
    name: 'relevo_webhook_duration_seconds',
    type: 'histogram',
    owner: 'relay',
    help: 'Requests to webhooks from dispatch to the end of the answer, by the outcome of the exchange',
    labels: { outcome: outcomeNames },
    buckets: durations,
  },
  exchangesShed: {
    name: 'relevo_exchanges_shed_total',
    type: 'counter',
    owner: 'relay',
    help: 'Exchanges answered with the fallback because Relevo itself had too much to do, by reason',
    labels: { reason: ['waited', 'in_flight'] },
  },
  exchangesUnderWay: {
    name: 'relevo_exchanges_under_way',
    type: 'gauge',
    owner: 'relay',
    help: 'Exchanges begun and not ended',
    labels: {},
  },
  exchangesWaiting: {
    name: 'relevo_exchanges_waiting',
    type: 'gauge',
    owner: 'relay',
    help: 'Exchanges that wait for their turn',
    labels: {},
  },
  slowFlows: {
    name: 'relevo_slow_flows',
    type: 'gauge',
    owner: 'relay',
    help: 'Flows, each judged by itself as Meta does: over a tenth of their answers in 5 min took more than 0.8 s. The log has which',
    merged: 'max',
    labels: {},
  },
  flowKeyUses: {
    name: 'relevo_flow_key_uses_total',
    type: 'counter',
    owner: 'relay',
    help: 'Calls of Meta opened, by the flow key that opened them: one that stands still can be retired',
    labels: { flow_key: `ids that Relevo made (\`fk_…\`), ${mostFlowKeys} in a process, then \`other\`` },
  },
  loopDelay: {
    name: 'relevo_event_loop_delay_seconds',
    type: 'gauge',
    owner: 'server',
    help: 'The worst delay of a timer since the last scrape',
    merged: 'max',
    labels: {},
  },
  connectionsRefused: {
    name: 'relevo_connections_refused_total',
    type: 'counter',
    owner: 'server',
    help: 'Connections refused because not even fallbacks could be kept up, or because too many were open',
    labels: {},
  },
  answerWait: {
    name: 'relevo_recorder_answer_wait_seconds',
    type: 'histogram',
    owner: 'recorder',
    help: 'How long answers that were ready waited until their rows were on a disk',
    labels: {},
    buckets: waits,
  },
  rowsWaiting: {
    name: 'relevo_recorder_rows_waiting',
    type: 'gauge',
    owner: 'recorder',
    help: 'Rows on no disk yet',
    labels: {},
  },
  rowsLost: {
    name: 'relevo_recorder_rows_lost_total',
    type: 'counter',
    owner: 'recorder',
    help: 'Rows given up on',
    labels: {},
  },
  spoolRows: {
    name: 'relevo_spool_rows',
    type: 'gauge',
    owner: 'recorder',
    help: 'Rows on this disk, not yet in the database',
    labels: {},
  },
  spoolBytes: {
    name: 'relevo_spool_bytes',
    type: 'gauge',
    owner: 'recorder',
    help: 'Bytes of these rows',
    labels: {},
  },
  breakers: {
    name: 'relevo_breakers',
    type: 'gauge',
    owner: 'breakers',
    help: 'Webhooks that this process called lately, by the state of their breakers',
    labels: { state: ['closed', 'open', 'half_open'] },
  },
  breakerTransitions: {
    name: 'relevo_breaker_transitions_total',
    type: 'counter',
    owner: 'breakers',
    help: 'Changes of breakers by their new state; half_open counts when the first probe goes out',
    labels: { to: ['closed', 'open', 'half_open'] },
  },
  breakerProbes: {
    name: 'relevo_breaker_probes_total',
    type: 'counter',
    owner: 'breakers',
    help: 'Single exchanges that found out whether a webhook is back; neutral: nothing was learnt',
    labels: { result: ['success', 'failure', 'neutral'] },
  },
  deliveryAttempts: {
    name: 'relevo_delivery_attempt_duration_seconds',
    type: 'histogram',
    owner: 'deliveries',
    help: 'Attempts of asynchronous deliveries from dispatch to the end of the answer, by where they left the delivery',
    labels: { status: deliveryStatuses },
    buckets: [...durations, 15],
  },
  deliveryRetries: {
    name: 'relevo_delivery_retries_total',
    type: 'counter',
    owner: 'deliveries',
    help: 'Attempts of asynchronous deliveries after the first',
    labels: {},
  },
  deliveryDelay: {
    name: 'relevo_delivery_delay_seconds',
    type: 'histogram',
    owner: 'deliveries',
    help: 'How long after they were due attempts of asynchronous deliveries began',
    labels: {},
    buckets: delays,
  },
  deliveriesUnderWay: {
    name: 'relevo_delivery_attempts_under_way',
    type: 'gauge',
    owner: 'deliveries',
    help: 'Attempts of asynchronous deliveries under way in this process',
    labels: {},
  },
  deliveriesExhausted: {
    name: 'relevo_deliveries_exhausted_total',
    type: 'counter',
    owner: 'deliveries',
    help: 'Asynchronous deliveries that ended undelivered, by reason: kept, and redeliverable',
    labels: { reason: deliveryReasons },
  },
  queueDepth: {
    name: 'relevo_delivery_queue_depth',
    type: 'gauge',
    owner: 'maintenance',
    help: 'Deliveries that wait for an attempt, counted up to 100000; told by the process that does the maintenance',
    merged: 'max',
    labels: {},
  },
  queueAge: {
    name: 'relevo_delivery_queue_age_seconds',
    type: 'gauge',
    owner: 'maintenance',
    help: 'For how long the attempt that is overdue longest has been due; told by the process that does the maintenance',
    merged: 'max',
    labels: {},
  },
  defaultPartitionRows: {
    name: 'relevo_default_partition_rows',
    type: 'gauge',
    owner: 'maintenance',
    help: 'Rows for whose day there is no partition, by table, counted up to 10,000; told by the process that does the maintenance',
    merged: 'max',
    labels: { table: ['exchanges', 'deliveries', 'attempts'] },
  },
  metaEntriesDropped: {
    name: 'relevo_meta_entries_dropped_total',
    type: 'counter',
    owner: 'meta webhooks',
    help: "Entries of Meta's webhooks that were not applied, by reason",
    labels: { reason: ['unknown_waba', 'unverified', 'signature'] },
  },
  metaEvents: {
    name: 'relevo_meta_events_total',
    type: 'counter',
    owner: 'meta webhooks',
    help: "Messages, notices and other changes in Meta's webhooks, by field and what came of them",
    labels: { field: ['messages', 'flows', 'other'], result: ['applied', 'duplicate', 'ignored'] },
  },
  spans: {
    name: 'relevo_spans_total',
    type: 'counter',
    owner: 'traces',
    help: 'Spans by what became of them: dropped are those that the collector was too slow for, failed those it did not take',
    labels: { result: ['exported', 'failed', 'dropped'] },
  },
} as const satisfies Record<string, MetricFacts>

/** The one that is not a process's own: those that share a port (WORKERS) are told of together. */
export const processRestarts = {
  name: 'relevo_process_restarts_total',
  type: 'counter',
  owner: 'server',
  help: 'Processes of this machine (WORKERS) that ended and were started anew',
  labels: {},
} satisfies MetricFacts
