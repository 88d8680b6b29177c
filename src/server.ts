import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import fastify, { type FastifyInstance } from 'fastify'
import { answerUnroutable } from './api/plugin.ts'
import { YoungMap } from './ops/young.ts'

/** What a sender may take of time and room. Defaults in `bounds`; tests want less. */
export interface ServerBounds {
  /** From the connection, or from a request's first byte, to the end of its head, ms. */
  readonly headMs: number
  /** To the end of its body, ms. Meta gives up after 10 s (protocol.md 1.8). */
  readonly requestMs: number
  /** From an answer's head to its last byte with the system, ms: who asks and does not read is cut. */
  readonly takeMs: number
  /** What answers that are not taken yet may hold together: beyond, whoever leaves most of them is cut. */
  readonly untakenBytes: number
  /** How often that is looked at, ms. */
  readonly lookEveryMs: number
  readonly connections: number
  /** Requests on one connection that are not answered yet: beyond, it is cut. */
  readonly pipelined: number
}

export const bounds: ServerBounds = {
  headMs: 10_000,
  requestMs: 20_000,
  takeMs: 20_000,
  untakenBytes: 64 * 1024 * 1024,
  lookEveryMs: 1000,
  connections: 8192,
  pipelined: 32,
}

export interface ConnectionWatch {
  /** A connection was made, be it refused or not. */
  readonly came: () => void
  readonly refused: () => void
}

/** The listener: its bounds, and what happens to bytes that are no request. */
export function createServer(given: Partial<ServerBounds>, watch: ConnectionWatch): FastifyInstance {
  const all = { ...bounds, ...given }
  const { headMs, requestMs, lookEveryMs, connections } = all
  const unanswered = new Unanswered(all)
  const server = fastify({
    logger: false,
    frameworkErrors: answerUnroutable,
    // Draining must not turn calls that are already on an open connection into a 5xx.
    return503OnClosing: false,
    // Longer than Meta's proxy or a load balancer keeps an idle connection, so that they close it and not we.
    keepAliveTimeout: 75_000,
    requestTimeout: requestMs,
    http: { headersTimeout: headMs, connectionsCheckingInterval: lookEveryMs, ServerResponse: Answer },
    routerOptions: { maxParamLength: 256, ignoreTrailingSlash: false },
    clientErrorHandler: (error, socket) => unanswered.refuse(error, socket),
  })
  // Whoever takes a body says how: without, one for no route would be read, and nothing would bound what all of them hold.
  server.removeAllContentTypeParsers()
  server.addContentTypeParser('*', (_request, _body, done) => done(null))
  // Its own answer would repeat the URL.
  server.setNotFoundHandler((_request, reply) => reply.code(404).send())
  const { server: listener } = server
  const looking = setInterval(() => unanswered.cutThoseNotTaken(performance.now()), lookEveryMs).unref()
  server.addHook('onClose', async () => clearInterval(looking))
  listener.maxConnections = connections
  let madeRoomAt = 0
  listener.on('connection', watch.came)
  listener.on('drop', () => {
    watch.came()
    watch.refused()
    if (performance.now() - madeRoomAt < 1000) return
    madeRoomAt = performance.now()
    listener.closeIdleConnections()
  })
  listener.prependListener('request', ({ socket }, response) => unanswered.add(socket, response as Answer))
  return server
}

/** While it is so, every new connection is closed as soon as it is made, and those that nobody uses now are. */
export function refuseConnections({ server: listener }: FastifyInstance): (isRefusing: boolean) => void {
  const most = listener.maxConnections
  return (isRefusing) => {
    // Zero would mean no bound.
    listener.maxConnections = isRefusing ? 1 : most
    if (isRefusing) listener.closeIdleConnections()
  }
}

/** A response that says how large it is. */
class Answer<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  /** Whoever counts what is not taken; null once it is taken, or its connection is gone. */
  counted: Unanswered | null = null
  /** Bytes that were handed over at its end, until they are with the system. */
  untaken = 0

  override end(chunk?: unknown, encoding?: unknown, done?: unknown): this {
    if (typeof chunk === 'string' || chunk instanceof Uint8Array) this.counted?.ended(this, chunk.length)
    return super.end(chunk, encoding as BufferEncoding, done as () => void)
  }
}

/** Requests whose answer is not out yet, by connection. */
class Unanswered {
  readonly #bounds: ServerBounds
  readonly #responses = new YoungMap<Socket, Set<Answer>>()
  /** Since when an answer is known to be on its way, `performance.now()`. */
  readonly #begunAt = new WeakMap<ServerResponse, number>()
  #untaken = 0

  constructor(given: ServerBounds) {
    this.#bounds = given
  }

  add(socket: Socket, response: Answer): void {
    const earlier = this.#responses.get(socket)
    if (earlier === undefined) socket.once('close', () => this.#responses.delete(socket))
    // One that is old leaves old memory behind: docs/adr/0009-what-dies-young.md.
    const responses = earlier !== undefined && earlier.size > 0 ? earlier : new Set<Answer>()
    this.#responses.set(socket, responses.add(response))
    response.counted = this
    response.once('close', () => {
      responses.delete(response)
      this.#untaken -= response.untaken
      response.untaken = 0
      // Where its connection is gone it may be made all the same, and nothing would say that it was taken.
      response.counted = null
    })
    if (responses.size > this.#bounds.pipelined) socket.destroy()
  }

  /** An answer is whole, and so many bytes long. Requests are small and answers can be large: what nobody reads stays in memory. */
  ended(response: Answer, bytes: number): void {
    response.untaken += bytes
    this.#untaken += bytes
    if (this.#untaken > this.#bounds.untakenBytes) this.#cutLargest()
  }

  #cutLargest(): void {
    let largest: { readonly socket: Socket; readonly bytes: number } | null = null
    for (const [socket, responses] of this.#responses) {
      const bytes = [...responses].reduce((sum, { untaken }) => sum + untaken, 0)
      if (bytes > (largest?.bytes ?? 0) && !socket.destroyed) largest = { socket, bytes }
    }
    largest?.socket.destroy()
  }

  /** Node bounds how long a request takes to come, and not how long its answer takes to go: connections are taken for ever by who never reads. */
  cutThoseNotTaken(now: number): void {
    for (const [socket, [first]] of this.#responses) {
      // Those behind it wait for their turn. One that streams a file ends only when it is taken.
      if (!first?.headersSent) continue
      const begunAt = this.#begunAt.get(first)
      if (begunAt === undefined) this.#begunAt.set(first, now)
      else if (now - begunAt >= this.#bounds.takeMs) socket.destroy()
    }
  }

  /** Bytes that are no request, or came too slowly. What was asked before them on the connection is answered first, in its order. */
  refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    if (error.code === 'ECONNRESET' || socket.destroyed) return
    const earlier = [...(this.#responses.get(socket) ?? [])].filter(({ req }) => req.complete)
    const last = earlier.at(-1)
    socket.pause()
    if (last === undefined) end(error, socket)
    else last.once('close', () => end(error, socket))
  }
}

const statusLines: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

function end({ code = '' }: NodeJS.ErrnoException, socket: Socket): void {
  const status = statusLines[code] ?? '400 Bad Request'
  if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  socket.destroySoon()
}
