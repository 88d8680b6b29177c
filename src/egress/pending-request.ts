import { type Dispatcher, errors } from 'undici'
import type { Connection, EgressRequest } from './connection.ts'
import { EgressError } from './errors.ts'

export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>

/** Told about one request, in this order; `end` or `error` is the last call. Nothing is called after an abort. */
export interface ResponseHandler {
  /** The whole request was handed to the socket. */
  sent(): void
  /** The final head; informational ones (1xx) are passed over. Never 100: undici ends the connection at one, as we never send `Expect`. */
  head(status: number, headers: ResponseHeaders): void
  chunk(bytes: Buffer): void
  end(): void
  /** An EgressError if the request was never on the wire, else undici's or Node's error. */
  error(error: unknown): void
}

/** Informational heads (1xx) before an answer: more are no answer, and each costs as much as one. */
const mostInformational = 16

/** What a pool does for its requests. */
export interface RequestOwner {
  /** The request is over. `reusable`: its connection is in a known state. */
  release(request: PendingRequest, reusable: boolean): void
  /** The request has not left, and its connection, good before, is broken: give it another. */
  restart(request: PendingRequest): void
}

/** One request on its way: undici's handler on one side, ours on the other. */
export class PendingRequest implements Dispatcher.DispatchHandler {
  connection: Connection | null = null
  readonly #request: EgressRequest
  readonly #owner: RequestOwner
  #handler: ResponseHandler | null
  #wasReused = false
  #isStarted = false
  #informational = 0

  constructor(request: EgressRequest, handler: ResponseHandler, owner: RequestOwner) {
    this.#request = request
    this.#handler = handler
    this.#owner = owner
  }

  start(connection: Connection): void {
    this.connection = connection
    this.#wasReused = connection.wasConnected
    connection.dispatch(this.#request, this)
  }

  /** From here on the handler hears nothing. */
  silence(): void {
    this.#handler = null
  }

  fail(error: unknown): void {
    const handler = this.#handler
    this.silence()
    handler?.error(error)
  }

  onRequestStart(): void {
    this.#isStarted = true
  }

  onRequestSent(): void {
    this.#handler?.sent()
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    if (status >= 200) this.#handler?.head(status, headers)
    else if (++this.#informational > mostInformational) this.#end(new errors.HeadersOverflowError())
  }

  onResponseData(_controller: Dispatcher.DispatchController, bytes: Buffer): void {
    this.#handler?.chunk(bytes)
  }

  onResponseEnd(): void {
    const handler = this.#handler
    this.silence()
    this.#owner.release(this, true)
    handler?.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: unknown): void {
    if (this.#handler === null) return
    if (!this.#isStarted && this.#wasReused && isOfSocket(error)) {
      this.#owner.restart(this)
    } else {
      this.#end(error)
    }
  }

  #end(error: unknown): void {
    this.#owner.release(this, false)
    this.fail(error)
  }
}

/**
 * Before a request has started: a reset had reached the idle connection, still unread. The request has not left, so
 * another connection is no second attempt. (A plain close never gets here: undici reconnects by itself.)
 */
function isOfSocket(error: unknown): boolean {
  const isOfRequest = error instanceof errors.InvalidArgumentError || error instanceof errors.NotSupportedError
  return !isOfRequest && !(error instanceof EgressError)
}
