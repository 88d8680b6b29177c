import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { buildConnector } from 'undici'
import type { AddressGuard } from './address-guard.ts'
import { AddressBlocked, ConnectFailed, EgressError, TlsFailed } from './errors.ts'
import type { Resolver } from './resolver.ts'

/** Starts to connect. `started` is given each socket at once, so that who gives up can destroy the latest. */
export type Connector = (
  options: buildConnector.Options,
  callback: buildConnector.Callback,
  started?: (socket: Socket) => void,
) => void

export interface ConnectorOptions {
  readonly guard: AddressGuard
  readonly resolver: Resolver
  /** A certificate authority to trust in place of the system's, in PEM; tests use it. */
  readonly tls?: { readonly ca?: string | Buffer }
}

/** Per address, while there is another to try; Node's own default, written down because deadlines depend on it. */
const addressTimeoutMs = 250
const maxTlsSessions = 1000

/**
 * The one place where a connection to a tenant begins, hence the place of the address guard: undici and Node skip a
 * `lookup` for IP literals (design.md §4), so literals are judged with the URL, names when they are resolved, both at every
 * connection. A name is resolved once, and Node connects to the very addresses that were judged. Those that it cut off for others, which
 * then failed, are judged and tried once more. Failures come as AddressBlocked, ConnectFailed or TlsFailed; whatever throws on the way
 * there means no connection. There is no connect timeout: the deadline of the request that wants the connection destroys the socket.
 */
export function createConnector(options: ConnectorOptions): Connector {
  const { guard, resolver } = options
  const firstLookup = createGuardedLookup(guard, (hostname) => resolver.resolve(hostname))
  const sessions = new Map<string, Buffer>()

  const openSocket = (target: buildConnector.Options, secure: boolean, lookup: LookupFunction): Socket => {
    const port = Number(target.port) || (secure ? 443 : 80)
    const common = {
      host: target.hostname,
      port,
      lookup,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: addressTimeoutMs,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    }
    if (!secure) return connectTcp(common)
    const place = `${target.hostname}:${port}`
    const session = sessions.get(place)
    const socket = connectTls({
      ...common,
      ...options.tls,
      // From the URL alone: undici's `servername` follows a Host header. SNI carries neither addresses nor a final dot.
      ...(isIP(target.hostname) === 0 ? { servername: target.hostname.replace(/\.$/, '') } : {}),
      ...(session === undefined ? {} : { session }),
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true,
    })
    return socket.on('session', (fresh: Buffer) => keepSession(sessions, place, fresh))
  }

  return (target, callback, started) => {
    const secure = target.protocol === 'https:'
    const url = urlOf(target)
    if (url === null || guard.refusalOfCall(url) !== null) {
      process.nextTick(callback, new AddressBlocked(), null)
      return
    }
    const open = (lookup: LookupFunction): void => {
      const socket = openSocket(target, secure, lookup)
      const cutOff: string[] = []
      socket.on('connectionAttemptTimeout', (address: string) => cutOff.push(address))
      report(socket, secure, (...result) => {
        const isToTryAgain = result[0] instanceof ConnectFailed && cutOff.length > 0
        // The last is never cut off: each time there are fewer.
        if (isToTryAgain) open(createGuardedLookup(guard, async () => cutOff))
        else callback(...result)
      })
      started?.(socket)
    }
    open(firstLookup)
  }
}

/** From what is connected to, `hostname` and `port`: undici's `host` is not looked at. Null where no URL can say it. */
function urlOf({ protocol, hostname, port }: buildConnector.Options): URL | null {
  const host = hostname.includes(':') ? `[${hostname}]` : hostname
  return URL.parse(`${protocol}//${host}${port === '' ? '' : `:${port}`}`)
}

/** Calls back once: with the socket when it can carry HTTP, or with the failure named after the step that failed. */
function report(socket: Socket | TLSSocket, secure: boolean, callback: buildConnector.Callback): void {
  let isTcpUp = false
  let isReported = false
  socket.once('connect', () => {
    isTcpUp = true
  })
  socket.once(secure ? 'secureConnect' : 'connect', () => {
    isReported = true
    callback(null, socket)
  })
  // Stays after the connection is made: undici listens too, but a socket without any listener would end the process.
  socket.on('error', (error) => {
    if (isReported) return
    isReported = true
    callback(failureOf(error, isTcpUp), null)
  })
}

function failureOf(error: Error, isTcpUp: boolean): EgressError {
  if (error instanceof EgressError) return error
  return isTcpUp ? new TlsFailed(error) : new ConnectFailed(error)
}

/** Gives Node only addresses that the guard allows; AddressBlocked if the name has none of those. */
function createGuardedLookup(guard: AddressGuard, resolve: Resolver['resolve']): LookupFunction {
  const allowedOf = async (hostname: string) => {
    const addresses = await resolve(hostname)
    const allowed = addresses.filter((address) => guard.allows(address))
    if (allowed.length === 0) throw new AddressBlocked()
    return allowed.map(withFamily)
  }
  // With `autoSelectFamily` Node always asks for all.
  return (hostname, _options, callback) => {
    allowedOf(hostname).then(
      (allowed) => callback(null, allowed),
      (error) => callback(error, ''),
    )
  }
}

function withFamily(address: string): { address: string; family: 4 | 6 } {
  return { address, family: address.includes(':') ? 6 : 4 }
}

/** A kept session spares the next connection the certificates; the oldest goes first. */
function keepSession(sessions: Map<string, Buffer>, place: string, session: Buffer): void {
  sessions.delete(place)
  sessions.set(place, session)
  if (sessions.size <= maxTlsSessions) return
  for (const oldest of sessions.keys()) {
    sessions.delete(oldest)
    return
  }
}
