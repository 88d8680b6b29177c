import type { Refusal } from './outcome.ts'

/** A call from Meta that is not served. Thrown by steps of the story, caught once in `relay/exchange.ts`. */
export class ExchangeRefused extends Error {
  readonly outcome: Refusal
  constructor(outcome: Refusal) {
    super(outcome)
    this.outcome = outcome
  }
}

/** The codes of problem bodies (contract.md §6) with their status and title. A client may switch on them: never rename one. */
export const apiErrorCodes = {
  unauthorized: [401, 'Authentication is missing or wrong'],
  forbidden: [403, 'This token may not do that'],
  not_found: [404, 'Not found'],
  method_not_allowed: [405, 'Method not allowed'],
  invalid_input: [400, 'The request is not valid'],
  waba_taken: [409, 'This WABA already belongs to a workspace'],
  already_exists: [409, 'It already exists'],
  last_flow_key: [409, 'The last active flow key cannot be retired'],
  limit_reached: [409, 'There are already as many as there can be'],
  access_token_missing: [409, 'The WABA has no access token'],
  no_channels: [409, 'The WABA has no channels'],
  flow_key_retired: [409, 'The flow key is retired'],
  delivery_emptied: [409, 'The delivery has been emptied'],
  deliveries_disabled: [409, "The webhook's deliveries are stopped"],
  webhook_inactive: [409, 'The webhook is not active'],
  webhook_gone: [409, 'The webhook is gone'],
  graph_error: [422, 'Meta refused the call'],
  graph_unreachable: [502, 'Meta could not be reached'],
  graph_timeout: [504, 'Meta did not answer in time'],
  idempotency_in_progress: [409, 'A call with this Idempotency-Key is still running'],
  idempotency_mismatch: [409, 'This Idempotency-Key was used with another request'],
  rate_limited: [429, 'Too many requests'],
  body_too_large: [413, 'The body is too large'],
  unsupported_media_type: [415, 'The body must be JSON'],
  internal_error: [500, 'Something went wrong inside Relevo'],
  database_unavailable: [503, 'The database does not answer'],
} as const satisfies Record<string, readonly [number, string]>

export type ApiErrorCode = keyof typeof apiErrorCodes

/** One fault of the input: where (dotted path, '' for the whole body) and what. Never holds the value. */
export interface InputFault {
  readonly path: string
  readonly message: string
}

/** What a problem may say besides: another status than its code's, and members of its own. */
export interface ProblemExtras {
  readonly status?: number
  readonly members?: Readonly<Record<string, unknown>>
}

/** An API call that ends in a problem body. `detail` is shown to the caller: no values of theirs in it. */
export class ApiError extends Error {
  readonly code: ApiErrorCode
  readonly faults: readonly InputFault[]
  readonly status: number
  readonly #members: Readonly<Record<string, unknown>>
  constructor(code: ApiErrorCode, detail: string, faults: readonly InputFault[] = [], extras: ProblemExtras = {}) {
    super(detail)
    this.code = code
    this.faults = faults
    this.status = extras.status ?? apiErrorCodes[code][0]
    this.#members = extras.members ?? {}
  }

  /** Not a property, so that no log writes it: it may hold a flow token. */
  get members(): Readonly<Record<string, unknown>> {
    return this.#members
  }
}

/** Bad input in one member. */
export function invalidInput(path: string, message: string): ApiError {
  return new ApiError('invalid_input', `${path}: ${message}`, [{ path, message }])
}

/** A body that cannot be read at all. `message` goes on from "the body". */
export function invalidBody(message: string): ApiError {
  return new ApiError('invalid_input', `the body ${message}`, [{ path: '', message }])
}
