import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { expect, it } from 'vitest'
import { GatheredMetrics } from '../../../src/ops/gathered-metrics.ts'
import { renderMerged } from '../../../src/ops/merged-metrics.ts'

/** A process that can be asked, until it hangs. */
class Process {
  readonly #registers = [new Registry()]
  readonly calls = new Counter({ name: 'calls', help: 'c', labelNames: ['outcome'], registers: this.#registers })
  readonly ms = new Histogram({ name: 'ms', help: 'h', buckets: [1, 10], registers: this.#registers })
  readonly open = new Gauge({ name: 'open', help: 'g', registers: this.#registers })
  readonly worst = new Gauge({ name: 'worst', help: 'w', aggregator: 'max', registers: this.#registers })
  hangs = false
  snapshot = () => this.#registers[0]?.getMetricsAsJSON() ?? []
}

function gathering(...processes: Process[]) {
  const metrics = new GatheredMetrics<Process>(async (process, id) => {
    // As over IPC: what arrives is a copy.
    if (!process.hangs) metrics.took(process, id, structuredClone(await process.snapshot()))
  }, 20)
  for (const process of processes) metrics.add(process)
  const page = async () =>
    (await renderMerged(await metrics.gather())).split('\n').filter((line) => !/^#|^$/.test(line))
  return { metrics, page }
}

function busy(calls: number, ms: number): Process {
  const process = new Process()
  process.calls.inc({ outcome: 'replied' }, calls)
  process.ms.observe(ms)
  process.open.set(calls)
  process.worst.set(ms)
  return process
}

it('counters and histograms are added up, gauges as each of them says', async () => {
  const { page } = gathering(busy(2, 5), busy(3, 50))
  const lines = await page()
  expect(lines).toEqual(
    expect.arrayContaining([
      'calls{outcome="replied"} 5',
      'ms_bucket{le="10"} 1',
      'ms_bucket{le="+Inf"} 2',
      'ms_sum 55',
    ]),
  )
  expect(lines).toEqual(expect.arrayContaining(['open 5', 'worst 50', 'relevo_process_restarts_total 0']))
})

it('what a process counted stays when it is gone, and what it held does not', async () => {
  const [first, second, third] = [busy(2, 5), busy(3, 5), busy(4, 5)]
  const { metrics, page } = gathering(first, second, third)
  await page()
  for (const gone of [first, second]) metrics.remove(gone)
  metrics.restarted()
  const lines = await page()
  expect(lines).toEqual(
    expect.arrayContaining(['calls{outcome="replied"} 9', 'ms_count 3', 'open 4', 'relevo_process_restarts_total 1']),
  )
})

it('a process that does not answer counts as it last told, and holds nobody up for long', async () => {
  const [well, hanging] = [busy(1, 5), busy(2, 5)]
  const { page } = gathering(well, hanging)
  await page()
  hanging.hangs = true
  well.calls.inc({ outcome: 'replied' })
  expect(await page()).toContain('calls{outcome="replied"} 4')
})
