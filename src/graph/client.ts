import {
  decodeUtf8,
  hasTooManyValues,
  isTooDeep,
  type JsonObject,
  maxJsonValues,
  parseJsonObject,
} from '../domain/json.ts'
import type { AddressGuard } from '../egress/address-guard.ts'
import { createDispatchers, type Dispatchers } from '../egress/dispatcher.ts'
import type { Resolver } from '../egress/resolver.ts'
import { type HttpResult, sendOnce } from './http.ts'
import { failed, type GraphResult, problemOfAnswer, problemOfFailure, unreadable } from './problem.ts'

/** One call of Meta's Graph API (protocol.md 4). */
export interface GraphCall {
  readonly method: 'GET' | 'POST'
  /** The members of the path after the version. */
  readonly path: readonly string[]
  readonly query?: Readonly<Record<string, string>>
  readonly body?: JsonObject
  /** Goes into the `Authorization` header and nowhere else. */
  readonly accessToken: string
  readonly timeoutMs?: number
}

/** All that Relevo asks of Meta. Results are values: nothing here throws. */
export interface Graph {
  /** Once, without retries. `value` is the answer's object, which holds no `error`. */
  call(call: GraphCall): Promise<GraphResult<JsonObject>>
  /** The JSON object behind a URL that Meta's answer named. It is asked without a token and past the address guard only. */
  download(url: string): Promise<GraphResult<JsonObject>>
  /** Resolves when calls under way have ended. */
  close(): Promise<void>
}

export interface GraphOptions {
  /** The operator's setting, so trusted: the guard is not asked. */
  readonly baseUrl: string
  readonly version: string
  readonly resolver: Resolver
  /** Those of the webhooks: they call public addresses only. */
  readonly guarded: Dispatchers
  readonly timeoutMs?: number
}

const defaultTimeoutMs = 10_000
const maxAnswerBytes = 4 * 1024 * 1024
/** A Flow JSON has 10 MB at most: protocol.md 2.8. */
const maxDownloadBytes = 10 * 1024 * 1024
const poolName = 'graph'
const trusting: AddressGuard = { allows: () => true, refusalOfUrl: () => null, refusalOfCall: () => null }

export function createGraph(options: GraphOptions): Graph {
  const base = new URL(options.baseUrl)
  const basePath = base.pathname.replace(/\/+$/, '')
  const { timeoutMs = defaultTimeoutMs, version } = options
  const dispatchers = createDispatchers({ guard: trusting, resolver: options.resolver })

  return {
    async call(call) {
      const members = [version, ...call.path].map(encodeURIComponent)
      const query = call.query === undefined ? '' : `?${new URLSearchParams(call.query)}`
      const request = {
        method: call.method,
        path: `${basePath}/${members.join('/')}${query}`,
        headers: headersOf(call),
        body: Buffer.from(call.body === undefined ? '' : JSON.stringify(call.body)),
      }
      const limits = { timeoutMs: call.timeoutMs ?? timeoutMs, maxBytes: maxAnswerBytes }
      return readAnswer(await sendOnce(dispatchers.of(poolName, base), request, limits), problemOfAnswer)
    },
    async download(text) {
      const url = URL.parse(text)
      if (url === null) return failed(problemOfFailure('address_blocked', false))
      const headers = { accept: '*/*', 'user-agent': userAgent }
      const request = { method: 'GET', path: url.pathname + url.search, headers, body: new Uint8Array() }
      const limits = { timeoutMs, maxBytes: maxDownloadBytes }
      return readAnswer(await sendOnce(options.guarded.of(poolName, url), request, limits), () => null)
    },
    close: () => dispatchers.close(),
  }
}

const userAgent = 'Relevo'

function headersOf({ accessToken, body }: GraphCall): Record<string, string> {
  return {
    accept: 'application/json',
    'user-agent': userAgent,
    authorization: `Bearer ${accessToken}`,
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
}

/** `refusalIn`: how a refusal looks among the answers that are asked for here. */
function readAnswer(result: HttpResult, refusalIn: typeof problemOfAnswer): GraphResult<JsonObject> {
  if (!result.ok) return failed(problemOfFailure(result.failure, result.isSent))
  const { status } = result
  const json = decodeUtf8(result.body)
  // A tenant may have made it: a Flow JSON of 10 MB could have millions of values.
  const isUnread = json === null || isTooDeep(json) || hasTooManyValues(json, maxJsonValues)
  const body = isUnread ? null : parseJsonObject(json)
  const refusal = body && refusalIn(status, body)
  if (refusal !== null) return failed(refusal)
  return body === null || status < 200 || status > 299 ? failed(unreadable(status)) : { ok: true, value: body }
}
