/** Whose doing an outcome is: what an engineer looks at first. */
export type Fault = 'none' | 'tenant' | 'meta' | 'relevo'
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

interface OutcomeFacts {
  /** `answer`: as it should be; `fallback`: Meta got the fallback; `refusal`: the call was not served. */
  readonly kind: 'answer' | 'fallback' | 'refusal'
  /** HTTP status to Meta; null where it is that of an earlier answer. */
  readonly status: number | null
  readonly fault: Fault
  readonly level: LogLevel
}

const answer = (status: number | null, fault: Fault = 'none', level: LogLevel = 'info') =>
  ({ kind: 'answer', status, fault, level }) as const
const fallback = (fault: Fault, level: LogLevel = 'warn') => ({ kind: 'fallback', status: 200, fault, level }) as const
const refusal = (status: number, fault: Fault, level: LogLevel = 'warn') =>
  ({ kind: 'refusal', status, fault, level }) as const

/** The closed list of contract.md §3: each call from Meta ends in exactly one. `docs/outcomes.md` explains each. */
export const outcomes = {
  replied: answer(200),
  answered_locally: answer(200),
  token_refused: answer(427, 'tenant'),
  unknown_action: answer(200, 'meta', 'warn'),
  repeated: answer(null),
  no_webhook: fallback('tenant'),
  timeout: fallback('tenant'),
  connect_failed: fallback('tenant'),
  connection_lost: fallback('tenant'),
  address_blocked: fallback('tenant'),
  tls_failed: fallback('tenant'),
  bad_status: fallback('tenant'),
  not_json: fallback('tenant'),
  invalid_reply: fallback('tenant'),
  reply_too_large: fallback('tenant'),
  breaker_open: fallback('tenant'),
  overloaded: fallback('tenant'),
  internal_error: fallback('relevo', 'error'),
  unknown_waba: refusal(404, 'meta', 'debug'),
  unavailable: refusal(503, 'relevo', 'error'),
  body_too_large: refusal(413, 'meta', 'debug'),
  bad_signature: refusal(432, 'meta'),
  malformed: refusal(400, 'meta', 'debug'),
  undecryptable: refusal(421, 'meta'),
} as const satisfies Record<string, OutcomeFacts>

export type Outcome = keyof typeof outcomes
type OutcomeOf<K extends OutcomeFacts['kind']> = {
  [O in Outcome]: (typeof outcomes)[O]['kind'] extends K ? O : never
}[Outcome]
/** Outcomes that never reach a row but `undecryptable`: contract.md §3 "Outcomes". */
export type Refusal = OutcomeOf<'refusal'>

export const outcomeNames = Object.keys(outcomes) as [Outcome, ...Outcome[]]

export function isFallback(outcome: Outcome): boolean {
  return outcomes[outcome].kind === 'fallback'
}
