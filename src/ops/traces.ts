import type { Log } from './logger.ts'
import type { Metrics } from './metrics.ts'
import type { EndedSpan } from './span.ts'
import { type Exporting, startExporting } from './trace-export.ts'
import { traceIdOf, traceparentOf } from './trace-ids.ts'
import { within } from './within.ts'

/**
 * Traces, where they are on. Spans are made of what is known when an exchange or attempt has ended, so that a call in flight pays for nothing
 * but the header that hands its trace on.
 */
export interface Traces {
  /** Loads the exporter. Never throws: without one, Relevo works as ever. */
  start(): Promise<void>
  /** The `traceparent` of a request that is made for an event, in the span that it will be. */
  traceparent(eventId: string, spanId: string): string
  /** Hands spans to the exporter, or drops them: it is given only so many that are not sent yet. `make` is called in a later turn, where they are wanted. */
  record(eventId: string, make: () => readonly EndedSpan[]): void
  /** Sends what is left, for a bounded time. Never throws. */
  close(): Promise<void>
}

export interface TracesParts {
  /** Of an OTLP collector, without `/v1/traces`. */
  readonly endpoint: string
  /** Share of traces that are recorded, 0 to 1. */
  readonly ratio: number
  readonly log: Log
  readonly metrics: Pick<Metrics, 'spansEnded'>
  /** For how long spans are gathered, ms. */
  readonly everyMs?: number
}

/** Spans that may wait for the collector: some megabytes. */
const mostPending = 4096
/** How long an end waits for the collector, ms. */
const closeMs = 2000

export function createTraces({ endpoint, ratio, log, metrics, everyMs = 1000 }: TracesParts): Traces {
  let exporting: Exporting | null = null
  let pending = 0
  let isFailing = false

  /** One line when it begins to fail, one when it is over: how many spans there were is in the metrics. */
  function sent(count: number, error: Error | null): void {
    pending -= count
    metrics.spansEnded(error === null ? 'exported' : 'failed', count)
    if (isFailing === (error !== null)) return
    isFailing = error !== null
    if (isFailing) log.warn({ error }, 'the collector of traces does not take spans: they are lost until it does')
    else log.info('the collector of traces takes spans again')
  }

  return {
    async start() {
      try {
        exporting = await startExporting({ url: `${endpoint}/v1/traces`, ratio, everyMs, mostPending, sent })
      } catch (error) {
        log.error({ error }, 'traces are off: what exports them did not load')
      }
    },
    traceparent: (eventId, spanId) => traceparentOf(eventId, spanId, exporting?.isSampled(traceIdOf(eventId)) ?? false),
    record(eventId, make) {
      const traceId = traceIdOf(eventId)
      if (!exporting?.isSampled(traceId)) return
      // The answer goes first: what a span costs (some 20 µs) is nobody's waiting.
      setImmediate(() => {
        const spans = make()
        if (pending + spans.length > mostPending) return metrics.spansEnded('dropped', spans.length)
        pending += spans.length
        exporting?.add(traceId, spans)
      })
    },
    async close() {
      if (exporting === null) return
      await new Promise(setImmediate)
      await within(closeMs, exporting.close())
    },
  }
}
