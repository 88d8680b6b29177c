/**
 * What can go wrong before a request is on the wire. Told apart by class, never by message: the messages are for logs
 * and name neither address nor URL.
 */
export class EgressError extends Error {
  override readonly name: string = 'EgressError'
}

/** The guard refuses the URL, or every address its host resolves to. Nothing was sent. */
export class AddressBlocked extends EgressError {
  override readonly name = 'AddressBlocked'
  readonly code = 'EGRESS_ADDRESS_BLOCKED'

  constructor() {
    super('the address may not be called')
  }
}

/** No TCP connection: DNS, refused, unreachable. `cause` is Node's error. */
export class ConnectFailed extends EgressError {
  override readonly name = 'ConnectFailed'
  readonly code = 'EGRESS_CONNECT_FAILED'

  constructor(cause: unknown) {
    super('no connection could be made', { cause })
  }
}

/** TCP was there, TLS did not come about: certificate, protocol, or a peer that hung up in the handshake. */
export class TlsFailed extends EgressError {
  override readonly name = 'TlsFailed'
  readonly code = 'EGRESS_TLS_FAILED'

  constructor(cause: unknown) {
    super('no TLS session could be made', { cause })
  }
}

/** Reason given to a connection that its user no longer wants; never seen by a response handler. */
export class Abandoned extends EgressError {
  override readonly name = 'Abandoned'
  readonly code = 'EGRESS_ABANDONED'

  constructor() {
    super('the request was abandoned')
  }
}

/** The pools were closed, or the webhook dropped, before the request could go out. */
export class PoolClosed extends EgressError {
  override readonly name = 'PoolClosed'
  readonly code = 'EGRESS_POOL_CLOSED'

  constructor() {
    super('the connection pool is closed')
  }
}
