import type { AttemptFailure } from '../domain/failure.ts'
import type { Abort } from '../egress/connection-pool.ts'
import type { Dispatchers } from '../egress/dispatcher.ts'
import type { ResponseHandler, ResponseHeaders } from '../egress/pending-request.ts'
import { ResponseBody } from '../egress/response-body.ts'
import { type FailureFacts, type Fault, readFailure } from './failure.ts'
import { type LateListener, type LateListeners, listenMs } from './late-listeners.ts'

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
  readonly received: Buffer
  readonly contentType: string | null
  readonly retryAfter: string | null
  readonly durationMs: number
  /** Until the request was written: about 0 on a live connection. */
  readonly connectMs: number | null
  readonly headMs: number | null
  /** Bytes of body that came, complete or not. */
  readonly bytes: number
}

/** For whoever wants to know how late a reply is that missed its deadline. */
export interface LateReplies {
  readonly listeners: LateListeners
  /** Called once where a complete response came within 5 s after the deadline: ms from the call of `sendAttempt`. */
  readonly came: (ms: number, status: number) => void
}

/**
 * Sends a request once and reads the whole response, under one timer from now over DNS, connect, TLS, head and body. Never
 * rejects. Resolves at the deadline at the latest (1 to 2 ms of timer resolution), never early as `timeout`; what is then
 * still under way is destroyed, and a request that was not yet sent never will be. A reply that came in late but before
 * the timer was served counts. With `late`, a request that was sent in time is not destroyed yet but listened to, where the
 * webhook has a place for that; the Attempt is the same. A body over `maxReplyBytes`, each chunk counted as 16 at least, is not read on: `reply_too_large`, or
 * `bad_status` where the status is not 2xx and so the body is of no interest.
 */
export function sendAttempt(dispatchers: Dispatchers, request: SignedRequest, late?: LateReplies): Promise<Attempt> {
  const { promise, resolve } = Promise.withResolvers<Attempt>()
  new RunningAttempt(request, resolve, late).start(dispatchers)
  return promise
}

class RunningAttempt implements ResponseHandler, LateListener {
  readonly #request: SignedRequest
  readonly #resolve: (attempt: Attempt) => void
  readonly #late: LateReplies | undefined
  readonly #startedAt = performance.now()
  readonly #received = new ResponseBody()
  #timer: NodeJS.Timeout | undefined
  #abort: Abort | undefined
  #isSettled = false
  /** Settled as `timeout`, and a late reply is waited for. */
  #isListening = false
  #status: number | null = null
  #headers: ResponseHeaders = {}
  #connectMs: number | null = null
  #headMs: number | null = null
  #bytes = 0

  constructor(request: SignedRequest, resolve: (attempt: Attempt) => void, late: LateReplies | undefined) {
    this.#request = request
    this.#resolve = resolve
    this.#late = late
  }

  start(dispatchers: Dispatchers): void {
    this.#watch()
    const { webhookId, url, headers, body } = this.#request
    const destination = dispatchers.to(webhookId, url)
    // The API refuses such a URL; a row that holds one must still end as a failed attempt.
    if (destination === null) {
      this.#fail({ failure: 'address_blocked', fault: 'tenant' })
      return
    }
    this.#abort = destination.pool.send({ method: 'POST', path: destination.path, headers, body }, this)
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
    if (this.#isListening) this.#received.pass(bytes)
    else this.#received.add(bytes)
    if (this.#received.weight > this.#request.maxReplyBytes) this.#refuseSize()
  }

  end(): void {
    if (this.#isListening) {
      this.stop()
      this.#late?.came(this.#elapsedMs(), this.#status ?? 0)
    } else {
      this.#settle(null, this.#received.bytes)
    }
  }

  error(error: unknown): void {
    this.stop()
    this.#settle(readFailure(error), null)
  }

  /** Node's timer counts from the start of the loop's turn, so it may fire before its time: then wait for the rest. */
  #watch(): void {
    const leftMs = this.#request.deadlineMs - this.#elapsedMs()
    if (leftMs > 0) this.#timer = setTimeout(() => this.#watch(), Math.ceil(leftMs))
    else this.#timeOut()
  }

  #timeOut(): void {
    const isSent = this.#connectMs !== null
    this.#isListening = isSent && (this.#late?.listeners.take(this.#request.webhookId, this) ?? false)
    this.#settle({ failure: 'timeout', fault: 'tenant' }, null)
    if (this.#isListening) this.#timer = setTimeout(() => this.stop(), listenMs)
    else this.#abort?.()
  }

  /** Ends the listening after the deadline, if there is any. */
  stop(): void {
    if (!this.#isListening) return
    this.#isListening = false
    clearTimeout(this.#timer)
    this.#late?.listeners.leave(this.#request.webhookId, this)
    this.#abort?.()
  }

  #refuseSize(): void {
    this.stop()
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
      received: this.#received.bytes,
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
