import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue } from 'prom-client'

/** The metrics of one process at one moment; can be sent to another. */
export type MetricsSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[]

/** As one page in Prometheus' text format: counters and histograms added up, gauges as each of them says. */
export function renderMerged(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return merge(snapshots).metrics()
}

/**
 * What goes on counting when a process is gone: its counters and histograms, added to those of others before it. Without them the sums would
 * fall, and Prometheus would take that for a restart of all and count everything anew.
 */
export function addLasting(before: MetricsSnapshot, gone: MetricsSnapshot): Promise<MetricsSnapshot> {
  const lasting = gone.filter(({ type }) => ['counter', 'histogram'].includes(String(type)))
  return merge([before, lasting]).getMetricsAsJSON()
}

function merge(snapshots: readonly MetricsSnapshot[]) {
  return AggregatorRegistry.aggregate(snapshots as unknown as object[])
}
