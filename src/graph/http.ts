import type { EgressRequest } from '../egress/connection.ts'
import type { Abort, ConnectionPool } from '../egress/connection-pool.ts'
import { AddressBlocked } from '../egress/errors.ts'
import type { ResponseHandler, ResponseHeaders } from '../egress/pending-request.ts'
import { ResponseBody } from '../egress/response-body.ts'

/** A whole HTTP answer, or why there is none. */
export type HttpResult =
  | { readonly ok: true; readonly status: number; readonly body: Buffer }
  | { readonly ok: false; readonly failure: HttpFailure; readonly isSent: boolean }

/** `isSent` beside it tells whether the whole request had left: then it may have been carried out. */
export type HttpFailure = 'timeout' | 'unreachable' | 'address_blocked' | 'connection_lost' | 'too_large'

export interface HttpLimits {
  /** Over DNS, connect, TLS, head and body. */
  readonly timeoutMs: number
  readonly maxBytes: number
}

/** Sends once, follows nothing, and reads the whole answer. Never rejects. `pool`: null where the guard refused the URL. */
export function sendOnce(pool: ConnectionPool | null, request: EgressRequest, limits: HttpLimits): Promise<HttpResult> {
  const { promise, resolve } = Promise.withResolvers<HttpResult>()
  if (pool === null) resolve({ ok: false, failure: 'address_blocked', isSent: false })
  else new RunningCall(limits, resolve).start(pool, request)
  return promise
}

class RunningCall implements ResponseHandler {
  readonly #limits: HttpLimits
  readonly #resolve: (result: HttpResult) => void
  readonly #received = new ResponseBody()
  #timer: NodeJS.Timeout | undefined
  #abort: Abort | undefined
  #isSettled = false
  #isSent = false
  #status = 0

  constructor(limits: HttpLimits, resolve: (result: HttpResult) => void) {
    this.#limits = limits
    this.#resolve = resolve
  }

  start(pool: ConnectionPool, request: EgressRequest): void {
    this.#timer = setTimeout(() => this.#fail('timeout'), this.#limits.timeoutMs)
    this.#abort = pool.send(request, this)
    if (this.#isSettled) this.#abort()
  }

  sent(): void {
    this.#isSent = true
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#status = status
    if (Number(headers['content-length'] ?? 0) > this.#limits.maxBytes) this.#fail('too_large')
  }

  chunk(bytes: Buffer): void {
    this.#received.add(bytes)
    if (this.#received.weight > this.#limits.maxBytes) this.#fail('too_large')
  }

  end(): void {
    this.#settle({ ok: true, status: this.#status, body: this.#received.bytes })
  }

  error(error: unknown): void {
    const before = error instanceof AddressBlocked ? 'address_blocked' : 'unreachable'
    this.#fail(this.#isSent ? 'connection_lost' : before)
  }

  #fail(failure: HttpFailure): void {
    this.#settle({ ok: false, failure, isSent: this.#isSent })
    this.#abort?.()
  }

  #settle(result: HttpResult): void {
    if (this.#isSettled) return
    this.#isSettled = true
    clearTimeout(this.#timer)
    this.#resolve(result)
  }
}
