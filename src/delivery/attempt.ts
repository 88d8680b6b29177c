import type { AttemptFailure } from '../domain/failure.ts'
import type { Abort } from '../egress/connection-pool.ts'
import type { Dispatchers } from '../egress/dispatcher.ts'
import type { ResponseHandler, ResponseHeaders } from '../egress/pending-request.ts'
import { type FailureFacts, type Fault, readFailure } from './failure.ts'

/** What goes to a webhook, byte for byte: signed already, nothing here looks into it. */
export interface SignedRequest {
  readonly webhookId: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: Uint8Array
  readonly deadlineMs: number
  readonly maxReplyBytes: number
}

/** One HTTP request and what became of it. Times in ms from the call of `sendAttempt`; null where that point was not reached. */
export interface Attempt {
  /** Also given when the body then failed. */
  readonly status: number | null
  /** Null if a complete response came, whatever its status. */
  readonly failure: AttemptFailure | null
  /** Whose doing the failure is; null without one. */
  readonly fault: Fault | null
  /** The complete body, empty if there was none; null with a failure. */
  readonly body: Buffer | null
  readonly headers: ResponseHeaders
  /** What came of the body, complete or not. */
  readonly received: readonly Buffer[]
  readonly contentType: string | null
  readonly retryAfter: string | null
  readonly durationMs: number
  /** Until the request was written: about 0 on a live connection. */
  readonly connectMs: number | null
  readonly headMs: number | null
  /** Bytes of body that came, complete or not. */
  readonly bytes: number
}

/**
 * Sends a request once and reads the whole response, under one timer from now over DNS, connect, TLS, head and body. Never
 * rejects. Resolves at the deadline at the latest (1 to 2 ms of timer resolution), never early as `timeout`; what is then
 * still under way is destroyed, and a request that was not yet sent never will be. A reply that came in late but before
 * the timer was served counts. A body over `maxReplyBytes` is not read on: `reply_too_large`, or `bad_status` where the
 * status is not 2xx and so the body is of no interest.
 */
export function sendAttempt(dispatchers: Dispatchers, request: SignedRequest): Promise<Attempt> {
  const { promise, resolve } = Promise.withResolvers<Attempt>()
  new RunningAttempt(request, resolve).start(dispatchers)
  return promise
}

class RunningAttempt implements ResponseHandler {
  readonly #request: SignedRequest
  readonly #resolve: (attempt: Attempt) => void
  readonly #startedAt = performance.now()
  readonly #chunks: Buffer[] = []
  #timer: NodeJS.Timeout | undefined
  #abort: Abort | undefined
  #isSettled = false
  #status: number | null = null
  #headers: ResponseHeaders = {}
  #connectMs: number | null = null
  #headMs: number | null = null
  #bytes = 0

  constructor(request: SignedRequest, resolve: (attempt: Attempt) => void) {
    this.#request = request
    this.#resolve = resolve
  }

  start(dispatchers: Dispatchers): void {
    this.#watch()
    const { webhookId, headers, body } = this.#request
    const url = URL.parse(this.#request.url)
    // The API refuses such a URL; a row that holds one must still end as a failed attempt.
    if (url === null || !/^https?:$/.test(url.protocol)) {
      this.#fail({ failure: 'address_blocked', fault: 'tenant' })
      return
    }
    const path = url.pathname + url.search
    this.#abort = dispatchers.of(webhookId, url.origin).send({ method: 'POST', path, headers, body }, this)
    if (this.#isSettled) this.#abort()
  }

  sent(): void {
    this.#connectMs = this.#elapsedMs()
  }

  head(status: number, headers: ResponseHeaders): void {
    this.#status = status
    this.#headers = headers
    this.#headMs = this.#elapsedMs()
    if (Number(headers['content-length'] ?? 0) > this.#request.maxReplyBytes) this.#refuseSize()
  }

  chunk(bytes: Buffer): void {
    this.#bytes += bytes.length
    this.#chunks.push(bytes)
    if (this.#bytes > this.#request.maxReplyBytes) this.#refuseSize()
  }

  end(): void {
    this.#settle(null, Buffer.concat(this.#chunks, this.#bytes))
  }

  error(error: unknown): void {
    this.#settle(readFailure(error), null)
  }

  /** Node's timer counts from the start of the loop's turn, so it may fire before its time: then wait for the rest. */
  #watch(): void {
    const leftMs = this.#request.deadlineMs - this.#elapsedMs()
    if (leftMs > 0) this.#timer = setTimeout(() => this.#watch(), Math.ceil(leftMs))
    else this.#fail({ failure: 'timeout', fault: 'tenant' })
  }

  #refuseSize(): void {
    const isSuccess = this.#status !== null && this.#status < 300
    this.#fail({ failure: isSuccess ? 'reply_too_large' : 'bad_status', fault: 'tenant' })
  }

  #fail(facts: FailureFacts): void {
    this.#settle(facts, null)
    this.#abort?.()
  }

  #settle(facts: FailureFacts | null, body: Buffer | null): void {
    if (this.#isSettled) return
    this.#isSettled = true
    clearTimeout(this.#timer)
    this.#resolve({
      status: this.#status,
      failure: facts?.failure ?? null,
      fault: facts?.fault ?? null,
      body,
      headers: this.#headers,
      received: this.#chunks,
      contentType: this.#header('content-type'),
      retryAfter: this.#header('retry-after'),
      durationMs: this.#elapsedMs(),
      connectMs: this.#connectMs,
      headMs: this.#headMs,
      bytes: this.#bytes,
    })
  }

  #header(name: string): string | null {
    const value = this.#headers[name]
    return (Array.isArray(value) ? value[0] : value) ?? null
  }

  #elapsedMs(): number {
    return performance.now() - this.#startedAt
  }
}
