import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { type Fault, type Faults, Pipe } from './tcp-faults.ts'

/** Which connections a fault is for: those that are there, those that come, or all. */
export type Connections = 'live' | 'new' | 'all'

/** Stands before a server (a tenant, PostgreSQL, Relevo) so that a test can spoil the way to it, or take it away. */
export interface TcpProxy {
  /** The given URL, through the proxy. */
  readonly url: string
  /** Connections of which either side is open. */
  readonly openConnections: number
  /** Spoils connections, in place of any fault before. Connections that it is not for keep theirs. */
  fault(faults: Faults, connections?: Connections): void
  /** Resets all connections and refuses new ones. */
  cut(): Promise<void>
  /** Holds all bytes back, both ways, and takes new connections: a server that is stopped but not gone. */
  freeze(): void
  /** Lifts every fault; what is lost or ended stays so. `target`: the server is elsewhere now. */
  restore(target?: string): Promise<void>
  close(): Promise<void>
}

const frozen: Fault = { kind: 'hold', afterBytes: 0 }
const none: Faults = {}

export async function startProxy(target: string): Promise<TcpProxy> {
  let { hostname, port } = new URL(target)
  const connections = new Set<Connection>()
  let coming: Faults = none
  let server = createServer({ allowHalfOpen: true }, accept)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const listenPort = (server.address() as AddressInfo).port

  function accept(near: Socket): void {
    const far = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
    const connection = new Connection(near, far, () => connections.delete(connection))
    connections.add(connection)
    connection.set(coming)
  }

  function fault(faults: Faults, which: Connections = 'all'): void {
    if (which !== 'live') coming = faults
    if (which !== 'new') for (const connection of connections) connection.set(faults)
  }

  async function stop(stopped: Server): Promise<void> {
    for (const connection of connections) connection.reset()
    if (!stopped.listening) return
    stopped.close()
    await once(stopped, 'close')
  }

  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(listenPort)
  return {
    url: url.href,
    get openConnections() {
      return connections.size
    },
    fault,
    cut: () => stop(server),
    freeze: () => fault({ toServer: frozen, toClient: frozen }),
    async restore(newTarget) {
      if (newTarget !== undefined) ({ hostname, port } = new URL(newTarget))
      fault(none)
      if (server.listening) return
      server = createServer({ allowHalfOpen: true }, accept)
      await once(server.listen(listenPort, '127.0.0.1'), 'listening')
    },
    close: () => stop(server),
  }
}

/** `near`: the client's socket, `far`: ours to the server. */
class Connection {
  readonly #near: Socket
  readonly #far: Socket
  readonly #toServer: Pipe
  readonly #toClient: Pipe

  constructor(near: Socket, far: Socket, gone: () => void) {
    this.#near = near
    this.#far = far
    for (const socket of [near, far]) {
      socket.setNoDelay(true).on('error', () => undefined)
      socket.on('close', () => near.closed && far.closed && gone())
    }
    this.#toServer = new Pipe(near, far)
    this.#toClient = new Pipe(far, near)
    near.on('end', () => this.#forsakeServer())
  }

  set({ toServer = null, toClient = null }: { toServer?: Fault | null; toClient?: Fault | null }): void {
    this.#toServer.set(toServer)
    this.#toClient.set(toClient)
    if (toServer === null && toClient === null) this.#forsakeServer()
  }

  /** A server does not keep for ever what lost bytes: it would run out of connections. */
  #forsakeServer(): void {
    if (!this.#toServer.isLost && !this.#toClient.isLost) return
    this.#toClient.lose()
    this.#far.resetAndDestroy()
  }

  reset(): void {
    this.#near.resetAndDestroy()
    this.#far.resetAndDestroy()
  }
}
