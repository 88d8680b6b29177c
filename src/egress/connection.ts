import type { Socket } from 'node:net'
import { type buildConnector, Client, type Dispatcher } from 'undici'
import type { Connector } from './connector.ts'
import { Abandoned } from './errors.ts'

export interface EgressRequest {
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string>
  readonly body: Uint8Array
}

/** Monotonic, in ms. */
export type Clock = () => number

/**
 * How long a connection may idle if the server gives no `Keep-Alive: timeout` hint. Below the 5 s at which Node, Apache and
 * uvicorn hang up, so that we always hang up first: a request written while the server closes is lost, and a second
 * attempt is not ours to make. With a hint, 1 s less than it says.
 */
const idleMs = 4_000
const hintMarginMs = 1_000
/** With the age below it stays under 5 min. */
export const maxIdleMs = 59_000
/**
 * Takes no further request from this age on. It may then idle for a minute, or carry its last request to that one's deadline
 * (15 s, and 5 s for a late reply), so none lives past 5 min: a name that leads elsewhere by now is looked up and judged again.
 */
export const maxReuseAgeMs = 240_000
const maxHeadBytes = 16_384

/** One HTTP/1.1 connection: an undici Client, and the socket that it does not yet know while it connects. */
export class Connection {
  readonly #client: Client
  readonly #now: Clock
  #connecting: Socket | null = null
  /** When its address was judged, or before that; null: it was never connected. */
  #bornAt: number | null = null

  /** Connects when the first request is dispatched. `onLost`: the peer or the idle timer ended it. */
  constructor(origin: string, connector: Connector, now: Clock, onLost: (connection: Connection) => void) {
    this.#now = now
    this.#client = new Client(origin, {
      connect: (options, callback) => {
        const startedAt = now()
        const connected: buildConnector.Callback = (...result) => {
          this.#connecting = null
          if (result[0] === null) this.#bornAt = startedAt
          callback(...result)
        }
        connector(options, connected, (socket) => {
          this.#connecting = socket
          if (this.#client.destroyed) socket.destroy(new Abandoned())
        })
      },
      allowH2: false,
      pipelining: 1,
      keepAliveTimeout: idleMs,
      keepAliveTimeoutThreshold: hintMarginMs,
      keepAliveMaxTimeout: maxIdleMs,
      maxHeaderSize: maxHeadBytes,
      // The request's own deadline rules; undici's timers are coarse (design.md §4).
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    this.#client.on('disconnect', () => onLost(this))
  }

  get wasConnected(): boolean {
    return this.#bornAt !== null
  }

  get isYoung(): boolean {
    return this.#bornAt !== null && this.#now() - this.#bornAt < maxReuseAgeMs
  }

  /** One at a time. All errors go to the handler. */
  dispatch(request: EgressRequest, handler: Dispatcher.DispatchHandler): void {
    this.#client.dispatch(request, handler)
  }

  destroy(): void {
    this.#client.destroy(new Abandoned(), () => {})
    this.#connecting?.destroy(new Abandoned())
  }
}
