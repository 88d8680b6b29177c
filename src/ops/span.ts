/** One step of a trace that is over. */
export interface EndedSpan {
  readonly name: string
  readonly kind: 'server' | 'client' | 'internal'
  readonly spanId: string
  /** Null: the root of its trace. */
  readonly parentSpanId: string | null
  /** performance.now(). */
  readonly startedAt: number
  readonly durationMs: number
  /** Names and ids of Relevo's own: never a payload, secret, phone number, flow token or URL. What is null is left out. */
  readonly attributes: Readonly<Record<string, string | number | null>>
  /** A closed list's name of what went wrong; null: nothing. */
  readonly error: string | null
}
