/**
 * The ids of traces (W3C Trace Context, level 1) follow from those that Relevo has anyway: whoever has an exchange's or an envelope's id has its
 * trace, a later attempt by another process belongs to it, and nothing has to be kept. Events are named by UUIDv7: 16 bytes, of
 * which the last 7 are random.
 */

/** Steps of an exchange that are spans, by the first byte of their ids. */
const stepBytes = { verify: 'a1', decrypt: 'a2', enrich: 'a3', webhook: 'a4', encrypt: 'a5' } as const
export type TracedStep = keyof typeof stepBytes

/** The trace of an event: the envelope's id, which for the three exchange events is the exchange's. */
export function traceIdOf(eventId: string): string {
  return eventId.replaceAll('-', '')
}

export function exchangeSpanId(exchangeId: string): string {
  return `a0${tailOf(exchangeId)}`
}

export function stepSpanId(exchangeId: string, step: TracedStep): string {
  return stepBytes[step] + tailOf(exchangeId)
}

/** `attempt`: 1 for the first. Those of one delivery differ in their first byte; it has 11 at most, unless it is redelivered. */
export function attemptSpanId(deliveryId: string, attempt: number): string {
  return (attempt & 0xff).toString(16).padStart(2, '0') + tailOf(deliveryId)
}

/** The header that hands a trace on. */
export function traceparentOf(eventId: string, spanId: string, isSampled: boolean): string {
  return `00-${traceIdOf(eventId)}-${spanId}-${isSampled ? '01' : '00'}`
}

/** 7 random bytes. */
function tailOf(uuid: string): string {
  return traceIdOf(uuid).slice(18)
}
