import { type Clock, Connection, type EgressRequest } from './connection.ts'
import type { Connector } from './connector.ts'
import { PoolClosed } from './errors.ts'
import { PendingRequest, type RequestOwner, type ResponseHandler } from './pending-request.ts'

/** Takes a request back, wherever it is: waiting, connecting, sent or half answered. Its connection is destroyed. */
export type Abort = () => void

/** 64 exchanges at once (contract.md §3) and 8 requests that are listened to after their deadline: those must not take an exchange's place. */
const maxConnections = 72

/**
 * The connections of one webhook to one origin; each carries one request at a time, and past 72 requests wait for their
 * turn. Not undici's Pool: that cannot take back a request from a Client that is still connecting, so a host that hangs
 * would gather 72 dead connects and behind them, without bound, the bodies of requests whose deadlines are long past.
 */
export class ConnectionPool implements RequestOwner {
  readonly #connect: () => Connection
  readonly #onEmpty: () => void
  /** The last used is the first to be used again, so that the others may idle out. */
  readonly #idle: Connection[] = []
  /** Few at a time, and no Set, that leaves old memory behind: docs/adr/0009-what-dies-young.md. */
  readonly #busy: PendingRequest[] = []
  readonly #waiting: PendingRequest[] = []
  #isClosed = false

  /** `onEmpty` is called when the last connection is gone and no request is left. */
  constructor(origin: string, connector: Connector, now: Clock, onEmpty: () => void) {
    this.#connect = () => new Connection(origin, connector, now, (connection) => this.#forget(connection))
    this.#onEmpty = onEmpty
  }

  /** Never throws; all failures go to the handler, some before this returns. There is no timeout: the caller aborts. */
  send(request: EgressRequest, handler: ResponseHandler): Abort {
    const pending = new PendingRequest(request, handler, this)
    if (this.#isClosed) pending.fail(new PoolClosed())
    else if (this.#busy.length < maxConnections) this.#start(pending)
    else this.#waiting.push(pending)
    return () => this.#abort(pending)
  }

  /** Lets requests under way finish, takes no more. */
  close(): void {
    this.#isClosed = true
    for (const connection of this.#idle.splice(0)) connection.destroy()
    for (const pending of this.#waiting.splice(0)) pending.fail(new PoolClosed())
    this.#reportIfEmpty()
  }

  /** Ends requests under way, takes no more. */
  interrupt(): void {
    this.close()
    for (const pending of [...this.#busy]) {
      // First: what ends a connection that is still connecting ends its request at once, as if the tenant had.
      pending.fail(new PoolClosed())
      this.release(pending, false)
    }
  }

  /** It is among the busy already. */
  restart(pending: PendingRequest): void {
    pending.connection?.destroy()
    pending.start(this.#takeYoung() ?? this.#connect())
  }

  release(pending: PendingRequest, reusable: boolean): void {
    if (!remove(this.#busy, pending)) return
    const { connection } = pending
    if (connection !== null && reusable && connection.isYoung && !this.#isClosed) this.#idle.push(connection)
    else connection?.destroy()
    this.#startNext()
    this.#reportIfEmpty()
  }

  #start(pending: PendingRequest): void {
    this.#busy.push(pending)
    pending.start(this.#takeYoung() ?? this.#connect())
  }

  /** It was young when it was put there. */
  #takeYoung(): Connection | undefined {
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      if (last.isYoung) return last
      last.destroy()
    }
    return undefined
  }

  #startNext(): void {
    const next = this.#waiting.shift()
    if (next !== undefined) this.#start(next)
  }

  #abort(pending: PendingRequest): void {
    pending.silence()
    remove(this.#waiting, pending)
    this.release(pending, false)
  }

  /** A connection in use reports its end through its request. */
  #forget(connection: Connection): void {
    if (!remove(this.#idle, connection)) return
    connection.destroy()
    this.#reportIfEmpty()
  }

  #reportIfEmpty(): void {
    if (this.#idle.length + this.#busy.length + this.#waiting.length === 0) this.#onEmpty()
  }
}

/** False: it was not there. */
function remove<T>(list: T[], member: T): boolean {
  const at = list.indexOf(member)
  if (at >= 0) list.splice(at, 1)
  return at >= 0
}
