import type { SpanExporter } from '@opentelemetry/sdk-trace'
import { nameProcess } from './process-name.ts'
import type { EndedSpan } from './span.ts'

/** OpenTelemetry's own SDK and exporter at work: docs/adr/0007-traces.md. */
export interface Exporting {
  isSampled(traceId: string): boolean
  add(traceId: string, spans: readonly EndedSpan[]): void
  close(): Promise<void>
}

export interface ExportingOptions {
  readonly url: string
  readonly ratio: number
  readonly everyMs: number
  readonly mostPending: number
  /** So many spans left the queue; `error`: they were not taken. */
  readonly sent: (count: number, error: Error | null) => void
}

/** One attempt to hand over a batch, its repetitions included, ms. */
const exportMs = 5000
const batch = { maxExportBatchSize: 512, exportTimeoutMillis: 2 * exportMs }

/** Loads the SDK, which nobody pays for where traces are off. */
export async function startExporting({ url, ratio, everyMs, mostPending, sent }: ExportingOptions): Promise<Exporting> {
  const [api, sdk, resources, otlp] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ])
  const { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } = api
  const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL }
  const sampler = new sdk.TraceIdRatioBasedSampler(ratio)
  const exporter = counting(new otlp.OTLPTraceExporter({ url, timeoutMillis: exportMs }), sent)
  // Ids are given: the tracer asks for them as it makes a span.
  const next = { traceId: '', spanId: '' }
  const own = { 'service.name': 'relevo', 'service.instance.id': nameProcess() }
  const provider = new sdk.TracerProvider({
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource: resources
      .defaultResource()
      .merge(resources.resourceFromAttributes(own))
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    sampler: new sdk.AlwaysOnSampler(),
    idGenerator: { generateTraceId: () => next.traceId, generateSpanId: () => next.spanId },
    spanProcessors: [
      new sdk.BatchSpanProcessor({ exporter, maxQueueSize: mostPending, scheduledDelayMillis: everyMs, ...batch }),
    ],
  })
  const tracer = provider.getTracer('relevo')

  function make(
    traceId: string,
    toEpochMs: number,
    { name, kind, spanId, parentSpanId, startedAt, durationMs, ...span }: EndedSpan,
  ): void {
    const startTime = startedAt + toEpochMs
    const parent = { traceId, spanId: parentSpanId ?? '', traceFlags: TraceFlags.SAMPLED }
    const context = parentSpanId === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
    Object.assign(next, { traceId, spanId })
    const attributes = Object.fromEntries(Object.entries(span.attributes).filter(hasValue))
    const made = tracer.startSpan(name, { kind: kinds[kind], startTime, attributes }, context)
    if (span.error !== null) made.setAttribute('error.type', span.error).setStatus({ code: SpanStatusCode.ERROR })
    made.end(startTime + durationMs)
  }

  return {
    isSampled: (traceId) =>
      sampler.shouldSample(ROOT_CONTEXT, traceId).decision === api.SamplingDecision.RECORD_AND_SAMPLED,
    add(traceId, spans) {
      // Read once: it is right to a millisecond only, and steps must stay in their order.
      const toEpochMs = Date.now() - performance.now()
      for (const span of spans) make(traceId, toEpochMs, span)
    },
    close: () => provider.shutdown(),
  }
}

function counting(exporter: SpanExporter, sent: ExportingOptions['sent']): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        sent(spans.length, result.code === 0 ? null : (result.error ?? new Error('not exported')))
        done(result)
      }),
    shutdown: () => exporter.shutdown(),
  }
}

function hasValue(entry: [string, string | number | null]): entry is [string, string | number] {
  return entry[1] !== null
}
