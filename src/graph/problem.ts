import { isObject, type JsonObject } from '../domain/json.ts'
import type { HttpFailure } from './http.ts'

/**
 * Why a call did not do what it should. Meta's own texts are not kept: they may repeat what was sent, phone numbers and tokens
 * included. `traceId` is what Meta's support finds the call by.
 */
export interface GraphProblem {
  /** `graph_error`: Meta said no. `unreadable`: an answer came that is not what Graph answers. */
  readonly kind: 'graph_error' | 'timeout' | 'unreachable' | 'address_blocked' | 'connection_lost' | 'unreadable'
  /** Ours, by Meta's code. */
  readonly title: string
  readonly metaCode: number | null
  readonly metaSubcode: number | null
  readonly httpStatus: number | null
  readonly traceId: string | null
  /** The same call may succeed later (protocol.md 4.5). */
  readonly retryable: boolean
  /** False if it is certain that Meta did not carry the call out. */
  readonly mayHaveHappened: boolean
}

export type GraphResult<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problem: GraphProblem }

export const failed = (problem: GraphProblem) => ({ ok: false, problem }) as const

/** protocol.md 4.5, and what Meta calls its own passing faults and its limits of calls. */
const titles: Readonly<Record<number, string>> = {
  1: 'Meta had a fault of its own',
  2: 'Meta is out of service for the moment',
  4: 'the app has made too many calls',
  17: 'the user of the access token has made too many calls',
  32: 'too many calls were made for this page',
  613: 'this kind of call was made too often',
  10: 'the access token lacks a permission',
  100: 'Meta does not accept a parameter, or the access token cannot see what is named',
  190: 'the access token is expired, revoked or wrong',
  368: 'Meta has blocked this for a breach of policy',
  80007: 'the WABA has made too many calls',
  80008: 'the WABA has made too many calls',
  130429: 'the phone number has sent too many messages',
  131000: 'Meta could not process the message',
  131008: 'a required parameter is missing',
  131009: 'a parameter has a value that Meta does not accept',
  131026: 'the message cannot be delivered to this phone number',
  131047: 'more than 24 hours have passed since the client last wrote: send a template',
  131048: 'too many messages of this phone number were taken for spam',
  131056: 'too many messages to this client in a short time',
  132068: 'the flow is blocked',
  132069: 'the flow is throttled and has used up its messages of this hour',
  139000: 'Meta has blocked this for reasons of integrity',
  139001: 'the flow cannot be changed',
  139002: 'the flow cannot be published',
  139003: 'the flow cannot be deprecated',
  139004: 'the flow cannot be deleted',
}
const retryableCodes: ReadonlySet<number> = new Set([
  1, 2, 4, 17, 32, 613, 80007, 80008, 130429, 131048, 131056, 132069,
])

/** The problem that an answer tells of, or null when it holds no `error`. */
export function problemOfAnswer(httpStatus: number, body: JsonObject): GraphProblem | null {
  const { error } = body
  if (!isObject(error)) return null
  const metaCode = whole(error.code)
  return {
    kind: 'graph_error',
    title: titleOf(metaCode),
    metaCode,
    metaSubcode: whole(error.error_subcode),
    httpStatus,
    traceId: traceIdOf(error.fbtrace_id),
    retryable: isPassing(httpStatus) || error.is_transient === true || retryableCodes.has(metaCode ?? -1),
    mayHaveHappened: false,
  }
}

/** For an answer that is not one of Graph's, or lacks what was asked for. A proxy's 502 says nothing of what Meta did. */
export function unreadable(httpStatus: number): GraphProblem {
  return {
    ...nothingOfMeta,
    kind: 'unreadable',
    title: 'Meta gave an answer that cannot be read',
    httpStatus,
    retryable: isPassing(httpStatus),
    mayHaveHappened: httpStatus < 300 || httpStatus >= 500,
  }
}

const titlesOfFailures = {
  timeout: 'Meta did not answer in time',
  unreachable: 'Meta cannot be reached',
  address_blocked: 'Meta named an address that may not be called',
  connection_lost: 'the connection to Meta was lost',
} as const

export function problemOfFailure(failure: HttpFailure, isSent: boolean): GraphProblem {
  if (failure === 'too_large') return { ...unreadable(200), httpStatus: null }
  const retryable = failure !== 'address_blocked'
  const title = titlesOfFailures[failure]
  return { ...nothingOfMeta, kind: failure, title, httpStatus: null, retryable, mayHaveHappened: isSent }
}

const nothingOfMeta = { metaCode: null, metaSubcode: null, traceId: null } as const

function titleOf(metaCode: number | null): string {
  if (metaCode !== null && metaCode >= 200 && metaCode <= 299) return 'the access token lacks a permission'
  return titles[metaCode ?? -1] ?? 'Meta refused the call'
}

function isPassing(httpStatus: number): boolean {
  return httpStatus >= 500 || httpStatus === 429
}

function whole(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : null
}

/** Opaque to us, so only let through in the form it has. */
function traceIdOf(value: unknown): string | null {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value) ? value : null
}
