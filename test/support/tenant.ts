import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { Certificate } from './certificate.ts'

export interface ReceivedCall {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly rawBody: Buffer
  /** `performance.now()` of this process when the whole request was there. */
  readonly at: number
  /** Which of the tenant's connections it came on, from 1. */
  readonly connection: number
}

export interface TenantCall {
  readonly received: ReceivedCall
  readonly response: ServerResponse
  readonly socket: Socket
  /** Resolves after so many ms, or never if the caller hung up or the tenant was closed before. */
  pause(ms: number): Promise<void>
}

export type Behaviour = (call: TenantCall) => void | Promise<void>

/** A tenant's backend on a real socket that does exactly what a test tells it, and takes nothing else for granted. */
export interface FakeTenant {
  readonly url: string
  readonly received: readonly ReceivedCall[]
  /** Connections that are open now. */
  readonly openSockets: number
  /** Behaviours for the coming calls, in order. They go before `always`. */
  next(...behaviours: Behaviour[]): void
  /** For every call that has none queued; null: such calls are surprises again. */
  always(behaviour: Behaviour | null): void
  /** Throws if a call came that no behaviour was given for (it was answered 599), or a queued behaviour was not used. */
  assertNoSurprises(): void
  close(): Promise<void>
}

/**
 * Listens on 127.0.0.1, any port. `host`: the name in `url`, such as `localhost`. `forgets`: nothing is kept in `received`, for loads that
 * would fill the memory with it.
 */
export async function startTenant(
  options: { tls?: Certificate; host?: string; forgets?: boolean } = {},
): Promise<FakeTenant> {
  const queue: Behaviour[] = []
  const received: ReceivedCall[] = []
  const surprises: string[] = []
  const connections = new Map<Socket, number>()
  let connectionCount = 0
  let fallback: Behaviour | null = null

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method = '', url: path = '', headers, socket } = request
    const connection = connections.get(socket) ?? 0
    const call = { method, path, headers, rawBody: Buffer.concat(chunks), at: performance.now(), connection }
    if (!options.forgets) received.push(call)
    const behaviour = queue.shift() ?? fallback ?? surprise
    await behaviour({ received: call, response, socket, pause: (ms) => pauseOn(socket, ms) })
  }
  const surprise: Behaviour = ({ received: { method, path }, response }) => {
    surprises.push(`unexpected call: ${method} ${path}`)
    response.writeHead(599).end()
  }
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    // A caller that hangs up in the middle of its request is what some tests are about.
    handle(request, response).catch((error: Error) => {
      if (!request.socket.destroyed) surprises.push(`behaviour failed: ${error.message}`)
    })
  }

  const server = options.tls ? createSecureServer(options.tls, listener) : createServer(listener)
  server.on(options.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    connectionCount += 1
    connections.set(socket, connectionCount)
    socket.on('error', () => {}).on('close', () => connections.delete(socket))
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo

  return {
    url: `${options.tls ? 'https' : 'http'}://${options.host ?? '127.0.0.1'}:${port}/hook`,
    received,
    get openSockets() {
      return connections.size
    },
    next: (...behaviours) => {
      queue.push(...behaviours)
    },
    always(behaviour) {
      fallback = behaviour
    },
    assertNoSurprises() {
      const unused = queue.length === 0 ? [] : [`${queue.length} queued behaviours were not used`]
      const all = [...surprises, ...unused]
      if (all.length > 0) throw new Error(`fake tenant: ${all.join('; ')}`)
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of connections.keys()) socket.destroy()
      await closed
    },
  }
}

function pauseOn(socket: Socket, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      socket.off('close', stop)
      resolve()
    }, ms)
    const stop = () => clearTimeout(timer)
    socket.once('close', stop)
  })
}

/** A port that takes no connection: a connect to it hangs, neither made nor refused (on Linux). */
export interface HangingPort {
  readonly port: number
  close(): Promise<void>
}

/**
 * A listener in a thread that never accepts again, its backlog of one filled with our own connections: the kernel drops
 * every further SYN.
 */
export async function startHangingPort(): Promise<HangingPort> {
  const worker = new Worker(neverAccepting, { eval: true, workerData: new SharedArrayBuffer(4) })
  const [port] = (await once(worker, 'message')) as [number]
  const fillers: Socket[] = []
  for (let isFull = false; !isFull; ) {
    const filler = connect(port, '127.0.0.1').on('error', () => {})
    fillers.push(filler)
    isFull = await new Promise<boolean>((resolve) => {
      filler.once('connect', () => resolve(false))
      setTimeout(resolve, 100, true)
    })
    if (fillers.length > 64) throw new Error('the backlog does not fill up on this system')
  }
  return {
    port,
    async close() {
      for (const filler of fillers) filler.destroy()
      await worker.terminate()
    },
  }
}

const neverAccepting = `
  const { parentPort, workerData } = require('node:worker_threads')
  const server = require('node:net').createServer()
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    setImmediate(() => Atomics.wait(new Int32Array(workerData), 0, 0))
  })
`
