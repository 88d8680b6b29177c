import { describe, expect, it } from 'vitest'
import { outcomeNames, outcomes } from '../../../src/domain/outcome.ts'
import { catalogue, type MetricFacts, mostFlowKeys } from '../../../src/ops/metric-catalogue.ts'
import { createMetrics } from '../../../src/ops/metrics.ts'

const facts = Object.values<MetricFacts>(catalogue)

/** The value of a sample, or null where there is none. */
async function sample(metrics: ReturnType<typeof createMetrics>, name: string): Promise<number | null> {
  const line = (await metrics.render()).split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? null : Number(line.slice(name.length))
}

describe('the registry', () => {
  it('has each metric of the catalogue, by its type and help, and no other of our name', async () => {
    const metrics = createMetrics()
    const page = await metrics.render()
    for (const { name, type, help } of facts) expect(page).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`)
    const ours = metrics.names.filter((name) => name.startsWith('relevo_'))
    expect(ours.toSorted()).toEqual(facts.map(({ name }) => name).toSorted())
  })

  it('begins counters with closed labels at 0, so that the first event is a rate', async () => {
    const metrics = createMetrics()
    expect(await sample(metrics, 'relevo_deliveries_exhausted_total{reason="queue_full"}')).toBe(0)
    expect(await sample(metrics, 'relevo_meta_events_total{field="flows",result="applied"}')).toBe(0)
    expect(await sample(metrics, 'relevo_recorder_rows_lost_total')).toBe(0)
    expect(await metrics.render()).not.toContain('relevo_flow_key_uses_total{')
  })

  it('knows Meta\u2019s thresholds, our deadline and our alert as bounds', () => {
    for (const bound of [0.7, 0.8, 1, 5, 7, 10]) expect(catalogue.exchangeDuration.buckets).toContain(bound)
    for (const { buckets = [] } of facts) expect(buckets).toEqual(buckets.toSorted((a, b) => a - b))
  })
})

it('exchanges are counted by outcome, with the kind and fault that the outcome has', async () => {
  const metrics = createMetrics()
  for (const outcome of outcomeNames) metrics.exchangeEnded(outcome, 12)
  metrics.exchangeEnded('timeout', 700)
  for (const outcome of outcomeNames) {
    const { kind, fault } = outcomes[outcome]
    const name = `relevo_exchanges_total{outcome="${outcome}",kind="${kind}",fault="${fault}"}`
    expect(await sample(metrics, name)).toBe(outcome === 'timeout' ? 2 : 1)
  }
})

it('a tenant that makes flow keys without end does not make samples without end', async () => {
  const metrics = createMetrics()
  for (let key = 0; key < mostFlowKeys + 5; key++) metrics.flowKeyUsed(`fk_${key}`)
  metrics.flowKeyUsed('fk_0')
  expect(await sample(metrics, 'relevo_flow_key_uses_total{flow_key="other"}')).toBe(5)
  expect(await sample(metrics, 'relevo_flow_key_uses_total{flow_key="fk_0"}')).toBe(2)
  const lines = (await metrics.render()).split('\n').filter((line) => line.startsWith('relevo_flow_key_uses_total{'))
  expect(lines).toHaveLength(mostFlowKeys + 1)
})

it('the queue is told of by who measures it, and no longer than a minute after', async () => {
  let now = 0
  const metrics = createMetrics(() => now)
  expect(await sample(metrics, 'relevo_delivery_queue_depth')).toBeNull()
  metrics.queueMeasured(12, 3.5)
  now = 60_000
  expect(await sample(metrics, 'relevo_delivery_queue_depth')).toBe(12)
  expect(await sample(metrics, 'relevo_delivery_queue_age_seconds')).toBe(3.5)
  now = 60_001
  expect(await sample(metrics, 'relevo_delivery_queue_depth')).toBeNull()
  expect(await sample(metrics, 'relevo_delivery_queue_age_seconds')).toBeNull()
  metrics.queueMeasured(0, 0)
  expect(await sample(metrics, 'relevo_delivery_queue_depth')).toBe(0)
})

it('rows without a partition are not told of for ever by a process that no longer does the maintenance', async () => {
  let now = 0
  const metrics = createMetrics(() => now)
  const rows = () => sample(metrics, 'relevo_default_partition_rows{table="attempts"}')
  expect(await rows()).toBeNull()
  metrics.defaultPartitionRows('attempts', 5)
  now = 900_000
  expect(await rows()).toBe(5)
  now = 900_001
  expect(await rows()).toBeNull()
})

it('an attempt that begins before its time is not late, and only later ones are retries', async () => {
  const metrics = createMetrics()
  metrics.deliveryBegun(1, -5)
  metrics.deliveryBegun(2, 2000)
  expect(await sample(metrics, 'relevo_delivery_retries_total')).toBe(1)
  expect(await sample(metrics, 'relevo_delivery_delay_seconds_sum')).toBe(2)
  expect(await sample(metrics, 'relevo_delivery_delay_seconds_count')).toBe(2)
})
