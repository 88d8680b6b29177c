import type { Attempt } from '../delivery/attempt.ts'
import { type Outcome, outcomes } from '../domain/outcome.ts'
import type { EndedSpan } from '../ops/span.ts'
import { exchangeSpanId, stepSpanId } from '../ops/trace-ids.ts'
import type { Stopwatch } from './stopwatch.ts'

export interface TracedExchange {
  readonly id: string
  readonly watch: Stopwatch
  readonly durationMs: number
  readonly outcome: Outcome
  readonly attempt: Attempt | null
  /** Names and ids, as in its log line. */
  readonly kind: string | null
  readonly event: string | null
  readonly workspaceId: string
  readonly wabaId: string
  readonly flowId: string | null
  readonly webhookId: string | null
}

/** An exchange that ended, as spans: itself, and each step it took. */
export function exchangeSpans(exchange: TracedExchange): EndedSpan[] {
  const { id, watch, durationMs, outcome } = exchange
  const parentSpanId = exchangeSpanId(id)
  const isFault = outcomes[outcome].kind !== 'answer'
  const whole: EndedSpan = {
    name: 'exchange',
    kind: 'server',
    spanId: parentSpanId,
    parentSpanId: null,
    startedAt: watch.startedAt,
    durationMs,
    attributes: {
      'relevo.exchange_id': id,
      'relevo.outcome': outcome,
      'relevo.kind': exchange.kind,
      'relevo.event': exchange.event,
      'relevo.workspace_id': exchange.workspaceId,
      'relevo.waba_id': exchange.wabaId,
      'relevo.flow_id': exchange.flowId,
      'relevo.webhook_id': exchange.webhookId,
    },
    error: isFault ? outcome : null,
  }
  const steps = watch.steps().map(
    ({ step, startedAt, durationMs }): EndedSpan => ({
      name: step,
      kind: step === 'webhook' ? 'client' : 'internal',
      spanId: stepSpanId(id, step),
      parentSpanId,
      startedAt,
      durationMs,
      attributes: step === 'webhook' ? attemptAttributes(exchange) : {},
      error: step === 'webhook' ? (exchange.attempt?.failure ?? null) : null,
    }),
  )
  return [whole, ...steps]
}

function attemptAttributes({ attempt, webhookId }: TracedExchange) {
  return {
    'http.request.method': 'POST',
    'http.response.status_code': attempt?.status ?? null,
    'relevo.webhook_id': webhookId,
    'relevo.connect_ms': attempt?.connectMs ?? null,
    'relevo.head_ms': attempt?.headMs ?? null,
  }
}
