import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newUuid } from '../../../src/domain/ids.ts'
import { createLog } from '../../../src/ops/logger.ts'
import type { EndedSpan } from '../../../src/ops/span.ts'
import { attemptSpanId, exchangeSpanId, stepSpanId, traceIdOf, traceparentOf } from '../../../src/ops/trace-ids.ts'
import { createTraces, type Traces } from '../../../src/ops/traces.ts'
import { type FakeCollector, startCollector } from '../../support/collector.ts'
import { eventually } from '../../support/eventually.ts'

/** W3C Trace Context, level 1. */
const traceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]$/

describe('the ids of traces', () => {
  it('are W3C\u2019s, and each span of an event has its own', () => {
    fc.assert(
      fc.property(
        fc.uuid({ version: 7 }),
        fc.uuid({ version: 7 }),
        fc.integer({ min: 1, max: 11 }),
        (id, delivery, n) => {
          const steps = (['verify', 'decrypt', 'enrich', 'webhook', 'encrypt'] as const).map((step) =>
            stepSpanId(id, step),
          )
          const ids = [exchangeSpanId(id), ...steps, attemptSpanId(id, n), attemptSpanId(id, n + 1)]
          expect(new Set(ids).size).toBe(ids.length)
          for (const spanId of [...ids, attemptSpanId(delivery, n)]) {
            expect(traceparentOf(id, spanId, true)).toMatch(traceparent)
            expect(traceparentOf(id, spanId, false)).toMatch(/-00$/)
          }
          expect(traceIdOf(id)).toBe(id.replaceAll('-', ''))
        },
      ),
    )
  })
})

describe('the exporter', () => {
  let collector: FakeCollector
  let traces: Traces
  let lines: Record<string, unknown>[]
  let counts: Record<string, number>

  const make = (ratio = 1) => {
    const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
    const own = counts
    const spansEnded = (result: string, count: number) => {
      own[result] = (own[result] ?? 0) + count
    }
    return createTraces({ endpoint: collector.url, ratio, log, metrics: { spansEnded }, everyMs: 20 })
  }
  beforeEach(async () => {
    ;[lines, counts] = [[], {}]
    collector = await startCollector()
    traces = make()
    await traces.start()
  })
  afterEach(async () => {
    await traces.close()
    collector.assertNoSurprises()
    await collector.close()
  })

  const span = (eventId: string, more: Partial<EndedSpan> = {}): EndedSpan => ({
    name: 'exchange',
    kind: 'server',
    spanId: exchangeSpanId(eventId),
    parentSpanId: null,
    startedAt: performance.now() - 20,
    durationMs: 12.5,
    attributes: { 'relevo.outcome': 'replied', 'relevo.flow_id': null, 'relevo.attempt': 1 },
    error: null,
    ...more,
  })
  const record = (count: number) => {
    for (let i = 0; i < count; i++) {
      const id = newUuid()
      traces.record(id, () => [span(id)])
    }
  }

  it('sends spans with the ids and times they were given', async () => {
    const id = newUuid()
    const child = span(id, { name: 'webhook', kind: 'client', spanId: stepSpanId(id, 'webhook'), error: 'timeout' })
    traces.record(id, () => [span(id), { ...child, parentSpanId: exchangeSpanId(id) }])
    await eventually(() => collector.spans.length === 2)
    const [root, webhook] = collector.spans
    expect(root).toMatchObject({ traceId: traceIdOf(id), spanId: exchangeSpanId(id), parentSpanId: '', kind: 2 })
    expect(root).toMatchObject({ isError: false, attributes: { 'relevo.outcome': 'replied', 'relevo.attempt': 1 } })
    expect(root?.attributes).not.toHaveProperty('relevo.flow_id')
    expect(Number((root?.endNs ?? 0n) - (root?.startNs ?? 0n)) / 1e6).toBeCloseTo(12.5, 1)
    expect(Math.abs(Number((root?.endNs ?? 0n) / 1_000_000n) - Date.now())).toBeLessThan(60_000)
    expect(webhook).toMatchObject({ traceId: traceIdOf(id), parentSpanId: exchangeSpanId(id), kind: 3, isError: true })
    expect(webhook?.attributes['error.type']).toBe('timeout')
    expect(collector.resource).toMatchObject({ 'service.name': 'relevo', 'service.instance.id': expect.any(String) })
    await eventually(() => counts.exported === 2)
  })

  it('records a share of traces whole, and says in the header which', async () => {
    await traces.close()
    traces = make(0.25)
    await traces.start()
    const ids = Array.from({ length: 1000 }, () => newUuid())
    const sampled = ids.filter((id) => traces.traceparent(id, exchangeSpanId(id)).endsWith('-01'))
    // 250 on average; ten standard deviations to either side.
    expect(sampled.length).toBeGreaterThan(113)
    expect(sampled.length).toBeLessThan(387)
    for (const id of ids) traces.record(id, () => [span(id)])
    await eventually(() => collector.spans.length >= sampled.length)
    expect(collector.spans.map(({ traceId }) => traceId).toSorted()).toEqual(sampled.map(traceIdOf).toSorted())
  })

  it('loses spans of a collector that refuses, says so once, and once that it is over', async () => {
    collector.answer((response) => response.writeHead(400).end('a-secret-of-the-collector'))
    record(600)
    await eventually(() => counts.failed === 600)
    expect(lines).toMatchObject([{ level: 'warn', msg: expect.stringContaining('does not take spans') }])
    expect(JSON.stringify(lines)).not.toContain('a-secret')
    collector.answer(null)
    record(3)
    await eventually(() => counts.exported === 3)
    expect(lines).toMatchObject([{ level: 'warn' }, { level: 'info', msg: expect.stringContaining('again') }])
    expect(collector.spans).toHaveLength(3)
  })

  it('holds so many spans for a collector that hangs, drops the rest, and does not wait for it in the end', async () => {
    collector.answer(() => undefined)
    record(5000)
    await eventually(() => collector.calls > 0)
    expect(counts).toEqual({ dropped: 5000 - 4096 })
    const startedAt = performance.now()
    await traces.close()
    // 2 s are waited for; the exporter would have gone on for 10.
    expect(performance.now() - startedAt).toBeLessThan(8000)
    traces = make()
  })

  it('sends what is left at the end, and takes nothing before its start', async () => {
    record(5)
    await traces.close()
    expect(collector.spans).toHaveLength(5)
    traces = make()
    record(1)
    expect(traces.traceparent(newUuid(), 'a000000000000001')).toMatch(/-00$/)
    await traces.close()
    expect(counts).toEqual({ exported: 5 })
  })
})
