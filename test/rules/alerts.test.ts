import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { catalogue, type MetricFacts, processRestarts } from '../../src/ops/metric-catalogue.ts'
import { createMetrics } from '../../src/ops/metrics.ts'
import { repositoryRoot } from './sources.ts'

/** What Prometheus and Grafana are told to look at must be there: a rule on a metric that was renamed never fires, and nobody sees it. */
const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8')
const rules = read('deploy/prometheus/relevo-alerts.yml')
const ruleTests = read('deploy/prometheus/relevo-alerts.test.yml')
const dashboard = read('deploy/grafana/relevo.json')

interface Panel {
  readonly title: string
  readonly targets?: readonly { readonly expr: string }[]
}
const panels: readonly Panel[] = JSON.parse(dashboard).panels
const dashboardQueries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)).join('\n')
/** YAML folds lines in the middle of a selector. */
const ruleQueries = rules.replaceAll(/\n\s+/g, ' ')

const facts = new Map<string, MetricFacts>(
  [...Object.values<MetricFacts>(catalogue), processRestarts].map((one) => [one.name, one]),
)
const others = createMetrics().names.filter((name) => !name.startsWith('relevo_'))
/** Labels that Prometheus adds. */
const added = ['job', 'instance']
const recorded = [...rules.matchAll(/- record: (\S+)/g)].map(([, name]) => name ?? '')

/** Each use of a metric, with its selector: `relevo_x{a="b"}`. */
function faultsOf(queries: string): string[] {
  const used = [...queries.matchAll(/(?<![\w:])((?:relevo|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)]
  return used.flatMap(([text, name = '', selector = '']) => {
    if (others.includes(name)) return []
    const metric = facts.get(name) ?? facts.get(name.replace(/_(bucket|count|sum)$/, ''))
    if (metric === undefined) return [`${name} is no metric`]
    const isHistogram = metric.type === 'histogram'
    if (isHistogram === (metric.name === name)) return [`${name} is not how a ${metric.type} is read`]
    return labelFaults(metric, selector).map((fault) => `${text}: ${fault}`)
  })
}

function labelFaults({ labels, buckets = [] }: MetricFacts, selector: string): string[] {
  return [...selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/g)].flatMap(([, label = '', value = '']) => {
    if (added.includes(label)) return []
    const known = label === 'le' ? buckets.flatMap(namesOfBound) : labels[label]
    if (known === undefined) return [`has no label ${label}`]
    if (typeof known === 'string') return []
    return value.split('|').flatMap((one) => (known.includes(one) ? [] : [`${label} is never ${one}`]))
  })
}

/** Prometheus 3 stores a bound that is a whole number as a float, those before it as it came. */
const namesOfBound = (bound: number) => (Number.isInteger(bound) ? [`${bound}`, `${bound}.0`] : [`${bound}`])

/** Selectors of a bound that one of them does not find. */
const oneNamedBounds = (queries: string) =>
  [...queries.matchAll(/\ble(=~?)"([^"]*)"/g)].flatMap(([text, , value = '']) =>
    value.split('|').every((one) => !/^\d+(\.0)?$/.test(one) || value.split('|').includes(other(one))) ? [] : [text],
  )
const other = (bound: string) => (bound.endsWith('.0') ? bound.slice(0, -2) : `${bound}.0`)

/** Labels by which is summed must be those of some metric. */
function groupingFaults(queries: string): string[] {
  const known = new Set(['le', ...added, ...[...facts.values()].flatMap(({ labels }) => Object.keys(labels))])
  const named = [...queries.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/))
  return named.filter((label) => !known.has(label))
}

describe.each([
  ['the alert rules', ruleQueries],
  ['their tests', ruleTests.replaceAll(/le="\+Inf"/g, '')],
  ['the dashboard', dashboardQueries],
])('%s', (_name, queries) => {
  it('name only metrics, labels, values and bounds that are there', () => {
    expect(faultsOf(queries)).toEqual([])
    expect(groupingFaults(queries)).toEqual([])
    const named = [...queries.matchAll(/\brelevo:[\w:]+/g)].map(([name]) => name)
    expect(named.filter((name) => !recorded.includes(name))).toEqual([])
  })
})

it('bounds are found by Prometheus 3, and by those before it', () => {
  expect(oneNamedBounds(ruleQueries + dashboardQueries)).toEqual([])
  expect(oneNamedBounds('{le="10"} {le="10.0"} {le="0.7"} {le=~"10|10.0"}')).toEqual(['le="10"', 'le="10.0"'])
})

describe('alerts', () => {
  const alerts = rules.split('- alert: ').slice(1)

  it('have a severity, a summary, and where to look', () => {
    expect(alerts.length).toBeGreaterThan(15)
    for (const alert of alerts) {
      expect(alert).toMatch(/severity: (critical|warning|info)/)
      expect(alert).toMatch(/summary: /)
      expect(alert).toContain('runbook: docs/operations.md#incidents')
    }
  })

  it('are each tested where they fire and where they do not', () => {
    for (const name of alerts.map((alert) => alert.split('\n', 1)[0] ?? '')) {
      expect(ruleTests).toMatch(new RegExp(`alertname: ${name}, exp_alerts: \\[\\]`))
      expect(ruleTests).toMatch(new RegExp(`alertname: ${name}\n +exp_alerts:\n +- exp_labels`))
    }
  })
})

it('the dashboard shows every metric there is', () => {
  const unseen = [...facts.keys()].filter(
    (name) => !new RegExp(`\\b${name}(_bucket|_count)?\\{`).test(dashboardQueries),
  )
  expect(unseen).toEqual([])
})

/** A rule that cannot fail holds nothing. */
it.each([
  ['sum(relevo_exchange_total)', 'relevo_exchange_total is no metric'],
  ['relevo_exchange_duration_seconds > 1', 'relevo_exchange_duration_seconds is not how a histogram is read'],
  ['rate(relevo_spool_rows_bucket[5m])', 'relevo_spool_rows_bucket is not how a gauge is read'],
  ['relevo_breakers{status="open"}', 'relevo_breakers{status="open"}: has no label status'],
  ['relevo_breakers{state=~"open|shut"}', 'relevo_breakers{state=~"open|shut"}: state is never shut'],
  [
    'relevo_exchange_duration_seconds_bucket{le="0.9"}',
    'relevo_exchange_duration_seconds_bucket{le="0.9"}: le is never 0.9',
  ],
])('the check sees %s', (query, fault) => {
  expect(faultsOf(query)).toEqual([fault])
})
