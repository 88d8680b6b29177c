import { catalogue, type MetricFacts, processRestarts } from '../src/ops/metric-catalogue.ts'

/** The page docs/metrics.md, made from the catalogue that the registry is made from. */
export function describeMetrics(): string {
  const byOwner = Map.groupBy([...Object.values<MetricFacts>(catalogue), processRestarts], ({ owner }) => owner)
  return [
    '# Metrics',
    '',
    '<!-- Made from src/ops/metric-catalogue.ts by `npm run docs`; `npm run check` fails when it drifts. -->',
    '',
    "Every process serves its own at `GET /metrics`, in Prometheus's text format, for who has `ADMIN_TOKEN`",
    '(`Authorization: Bearer …`); sum over processes. Beside these stand the `process_…` and `nodejs_…` metrics of prom-client.',
    '',
    'No label holds what a tenant, a person or a stranger made up: no names, URLs, phone numbers, flow tokens, and none of the',
    'ids that tenants can multiply. Workspaces, flows and webhooks have their figures in `GET /v1/stats`, with a verdict beside',
    "Meta's thresholds. Alerts on these metrics are in [deploy/prometheus](../deploy/prometheus/relevo-alerts.yml), and a dashboard in",
    '[deploy/grafana](../deploy/grafana/relevo.json); tests hold both to this list.',
    '',
    ...[...byOwner].flatMap(([owner, metrics]) => sectionOf(owner, metrics)),
  ].join('\n')
}

function sectionOf(owner: string, metrics: readonly MetricFacts[]): string[] {
  const heading = `## ${owner.charAt(0).toUpperCase()}${owner.slice(1)}`
  const rows = metrics.map(
    ({ name, type, help, labels }) => `| \`${name}\` | ${type} | ${help} | ${labelsOf(labels)} |`,
  )
  const buckets = metrics.flatMap(({ name, buckets = null }) =>
    buckets === null ? [] : [`\`${name}\`: buckets end at ${buckets.join(', ')} s.`, ''],
  )
  return [heading, '', '| metric | type | meaning | labels |', '| --- | --- | --- | --- |', ...rows, '', ...buckets]
}

function labelsOf(labels: MetricFacts['labels']): string {
  const told = Object.entries(labels).map(([label, values]) => `\`${label}\`: ${valuesOf(label, values)}`)
  return told.length === 0 ? '–' : told.join('<br>')
}

function valuesOf(label: string, values: readonly string[] | string): string {
  if (typeof values === 'string') return values
  return label === 'outcome' ? '[each outcome](outcomes.md)' : values.map((value) => `\`${value}\``).join(', ')
}
