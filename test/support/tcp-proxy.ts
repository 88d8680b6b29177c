import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Stands before a server (here PostgreSQL) so that a test can take it away. */
export interface TcpProxy {
  /** The given URL, through the proxy. */
  readonly url: string
  /** Resets all connections and refuses new ones. */
  cut(): Promise<void>
  /** Holds all bytes back, both ways, and takes new connections: a server that is stopped but not gone. */
  freeze(): void
  /** Undoes both. `target`: the server is elsewhere now. */
  restore(target?: string): Promise<void>
  close(): Promise<void>
}

export async function startProxy(target: string): Promise<TcpProxy> {
  let { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let frozen = false
  let server = createServer(accept)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const listenPort = (server.address() as AddressInfo).port

  function accept(near: Socket): void {
    const far = connect(Number(port), hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk) => to.write(chunk))
      from.on('error', () => undefined)
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      if (frozen) from.pause()
    }
  }

  async function stop(stopped: Server): Promise<void> {
    if (!stopped.listening) return
    stopped.close()
    for (const socket of sockets) socket.resetAndDestroy()
    await once(stopped, 'close')
  }

  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String(listenPort)
  return {
    url: url.href,
    cut: () => stop(server),
    freeze() {
      frozen = true
      for (const socket of sockets) socket.pause()
    },
    async restore(newTarget) {
      if (newTarget !== undefined) ({ hostname, port } = new URL(newTarget))
      frozen = false
      for (const socket of sockets) socket.resume()
      if (server.listening) return
      server = createServer(accept)
      await once(server.listen(listenPort, '127.0.0.1'), 'listening')
    },
    close: () => stop(server),
  }
}
