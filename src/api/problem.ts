import type { FastifyReply } from 'fastify'
import type { z } from 'zod'
import { ApiError, type ApiErrorCode, apiErrorCodes, type InputFault, invalidBody } from '../domain/errors.ts'
import { StorageError } from '../storage/database.ts'
import { jsonAnswer, type SentAnswer, sendAnswer } from './answer.ts'

/** Told of one request. */
export const mostFaults = 20
// Names of unknown members come from the caller: enough to find them by, too short for a document.
const longestName = 100

/** What a failed call is answered with: an ApiError as it is, everything else as the one that tells nothing more. */
export function problemOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof StorageError) return storageProblem(error)
  const { code, statusCode } = (error ?? {}) as { code?: unknown; statusCode?: unknown }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new ApiError('unsupported_media_type', 'send the body as application/json')
  }
  // What else the framework refuses before a handler runs is a body that it cannot read.
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    return invalidBody('is not valid JSON')
  }
  return new ApiError('internal_error', 'the call failed inside Relevo; its cause is in the log')
}

function storageProblem(error: StorageError): ApiError {
  if (error.unavailable) return new ApiError('database_unavailable', 'the database does not answer; try again')
  if (error.contended) return new ApiError('database_unavailable', 'others are changing the same rows; try again')
  // What the call names was there when it was looked up and has been deleted since.
  if (error.sqlState === '23503')
    return new ApiError('not_found', 'something that the request names has just been deleted')
  return new ApiError('internal_error', 'the call failed inside Relevo; its cause is in the log')
}

export const problemType = 'application/problem+json'

/** A failure inside Relevo, as opposed to a refusal or a failure at Meta. */
export function isOurs({ code }: ApiError): boolean {
  return code === 'internal_error' || code === 'database_unavailable'
}

const headersOf: Partial<Record<ApiErrorCode, Readonly<Record<string, string>>>> = {
  unauthorized: { 'www-authenticate': 'Bearer' },
  database_unavailable: { 'retry-after': '1' },
  rate_limited: { 'retry-after': '1' },
}

/** The problem details (RFC 9457) of an error. */
export function problemAnswer(error: ApiError): SentAnswer {
  const [, title] = apiErrorCodes[error.code]
  const { status } = error
  const problem = {
    ...error.members,
    type: `urn:relevo:problem:${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    errors: error.faults.length > 0 ? error.faults : undefined,
  }
  return jsonAnswer(status, problem, { 'content-type': `${problemType}; charset=utf-8`, ...headersOf[error.code] })
}

export function sendProblem(reply: FastifyReply, error: ApiError): FastifyReply {
  return sendAnswer(reply, problemAnswer(error))
}

/** The first faults of one request; there may be more than are given. */
export function inputProblem(faults: readonly InputFault[]): ApiError {
  const [first] = faults
  const named = first ? `${first.path === '' ? 'the body' : first.path}: ${first.message}` : 'the request is not valid'
  const others = faults.length > mostFaults ? `at least ${mostFaults}` : faults.length - 1
  const more = faults.length > 1 ? ` (and ${others} more)` : ''
  return new ApiError('invalid_input', named + more, faults.slice(0, mostFaults))
}

/** The faults that a schema found, as they are asked for: a body may have a million. Its messages say what is expected, never what came. */
export function* faultsOf(error: z.ZodError): Generator<InputFault> {
  for (const issue of error.issues) {
    if (issue.code !== 'unrecognized_keys') yield { path: pathOf(issue.path), message: issue.message }
    else for (const name of issue.keys) yield { path: pathOf([...issue.path, name]), message: 'is not known here' }
  }
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.map((name) => String(name).slice(0, longestName)).join('.')
}
