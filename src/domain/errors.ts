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

/** An API call that ends in a problem body. `detail` is shown to the caller: no values of theirs in it. */
export class ApiError extends Error {
  readonly code: ApiErrorCode
  readonly faults: readonly InputFault[]
  constructor(code: ApiErrorCode, detail: string, faults: readonly InputFault[] = []) {
    super(detail)
    this.code = code
    this.faults = faults
  }
}

/** Bad input in one member. */
export function invalidInput(path: string, message: string): ApiError {
  return new ApiError('invalid_input', `${path}: ${message}`, [{ path, message }])
}
