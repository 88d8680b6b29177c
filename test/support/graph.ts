import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { GraphModel, type GraphRoute, graphRoutes, NotAccepted } from './graph-model.ts'

/** A call that reached the fake, as it came. */
export interface GraphCall {
  /** `POST /:id/messages`: which route of graph-model.ts it was; null for none of them. */
  readonly route: string | null
  readonly method: string
  /** Without version and query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly accessToken: string | null
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of many shapes
  readonly body: any
}

export interface GraphAnswering {
  readonly call: GraphCall
  readonly response: ServerResponse
  readonly socket: Socket
  /** What the fake would have answered. The call is carried out by asking. */
  standard(): unknown
}

export type GraphBehaviour = (answering: GraphAnswering) => void | Promise<void>

/**
 * Meta's Graph API on a real socket: what stands in protocol.md 4 and nothing else. An unknown path, method, query or body member,
 * a token that is missing, unknown or in the wrong place is a surprise, and `assertNoSurprises` fails the test for it.
 */
export interface FakeGraph {
  /** For GRAPH_API_URL. */
  readonly url: string
  readonly version: string
  readonly model: GraphModel
  readonly calls: readonly GraphCall[]
  /** The calls of one route, such as `POST /:id/messages`. */
  callsOf(route: string): readonly GraphCall[]
  /** Behaviours in place of the standard answer for the coming calls of a route, in order. */
  next(route: string, ...behaviours: GraphBehaviour[]): void
  /** Forgets calls; throws if a call came that Graph would not take, or a queued behaviour was not used. */
  assertNoSurprises(): void
  close(): Promise<void>
}

/** `knowsEveryId`: any id is there for any token, made when it is first named; for tests that are not about Graph. */
export async function startGraph(options: { knowsEveryId?: boolean } = {}): Promise<FakeGraph> {
  const version = 'v25.0'
  const calls: GraphCall[] = []
  const surprises: string[] = []
  const queues = new Map<string, GraphBehaviour[]>()
  const sockets = new Set<Socket>()
  const model = new GraphModel(options.knowsEveryId ?? false)

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const read = readCall(request, Buffer.concat(chunks).toString(), version)
    calls.push(read.call)
    const route = graphRoutes.find((it) => it.name === read.call.route)
    const standard = () => carryOut(model, route, read)
    const answering = { call: read.call, response, socket: request.socket, standard }
    const behaviour =
      queues.get(read.call.route ?? '')?.shift() ?? (({ standard }) => sendJson(response, 200, standard()))
    try {
      await behaviour(answering)
    } catch (error) {
      if (!(error instanceof NotAccepted)) throw error
      if (error.surprise !== null) surprises.push(`${read.call.method} ${read.call.path}: ${error.surprise}`)
      sendJson(response, error.status, { error: error.body })
    }
  }
  const server = createServer((request, response) => {
    handle(request, response).catch((error: Error) => {
      surprises.push(`the fake failed: ${error.stack}`)
      response.destroy()
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  model.downloadsAt = `${url}/download`

  return {
    url,
    version,
    model,
    calls,
    callsOf: (route) => calls.filter((call) => call.route === route),
    next(route, ...behaviours) {
      if (!graphRoutes.some((it) => it.name === route)) throw new Error(`there is no route ${route}`)
      queues.set(route, [...(queues.get(route) ?? []), ...behaviours])
    },
    assertNoSurprises() {
      const unused = [...queues]
        .filter(([, queue]) => queue.length > 0)
        .map(([route]) => `unused behaviour for ${route}`)
      const all = [...surprises.splice(0), ...unused]
      queues.clear()
      calls.length = 0
      if (all.length > 0) throw new Error(`fake Graph: ${all.join('; ')}`)
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

interface ReadCall {
  readonly call: GraphCall
  /** What is wrong with it before any route is asked. */
  readonly fault: string | null
  readonly ids: readonly string[]
}

function readCall(request: IncomingMessage, text: string, version: string): ReadCall {
  const { method = '', headers } = request
  const url = new URL(request.url ?? '', 'http://graph.test')
  const isDownload = url.pathname.startsWith('/download/')
  const isVersioned = url.pathname.startsWith(`/${version}/`)
  const path = isVersioned ? url.pathname.slice(version.length + 1) : url.pathname
  const matched = graphRoutes
    .map((route) => ({ route, match: route.pattern.exec(path) }))
    .find(({ route, match }) => route.method === method && match !== null)
  const accessToken = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1] ?? null
  const isJson = headers['content-type'] === 'application/json'
  const call: GraphCall = {
    route: matched?.route.name ?? null,
    method,
    path,
    query: Object.fromEntries(url.searchParams),
    accessToken,
    body: text === '' ? undefined : isJson ? JSON.parse(text) : text,
  }
  const faults = [
    matched === undefined && 'no such path or method',
    !isVersioned && !isDownload && 'the version is missing',
    isDownload && headers.authorization !== undefined && 'a token was given to the host of an asset',
    !isDownload && accessToken === null && 'the token is missing',
    text !== '' && !isJson && 'the body is not sent as JSON',
    text === '' && headers['content-type'] !== undefined && 'a content type without a body',
  ]
  return { call, fault: faults.find((it) => it !== false) || null, ids: matched?.match?.slice(1) ?? [] }
}

function carryOut(model: GraphModel, route: GraphRoute | undefined, { call, fault, ids }: ReadCall): unknown {
  if (route === undefined || fault !== null) throw new NotAccepted(fault ?? 'no such path or method', 2500)
  for (const name of Object.keys(call.query)) {
    if (!route.query.includes(name)) throw new NotAccepted(`unknown query member ${name}`)
  }
  const body = route.body.safeParse(call.body)
  if (!body.success) throw new NotAccepted(`the body does not fit: ${body.error.message}`)
  if (!route.isOpen) model.requireToken(call.accessToken ?? '')
  return route.handle(model, { ids, query: call.query, body: body.data, accessToken: call.accessToken ?? '' })
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=UTF-8' }).end(JSON.stringify(body))
}

/** Meta's error object, its texts full of what must not be passed on. */
export function refuse(
  code: number,
  more: { status?: number; subcode?: number; transient?: boolean } = {},
): GraphBehaviour {
  const { status = 400, subcode, transient } = more
  return ({ call, response }) => {
    const said = `(#${code}) ${JSON.stringify(call.body ?? null)} ${call.accessToken}`
    const error = {
      message: said,
      type: 'OAuthException',
      code,
      ...(subcode === undefined ? {} : { error_subcode: subcode }),
      ...(transient === undefined ? {} : { is_transient: transient }),
      error_data: { messaging_product: 'whatsapp', details: said },
      error_user_title: said,
      error_user_msg: said,
      fbtrace_id: 'AtRaCe-1_x',
    }
    sendJson(response, status, { error })
  }
}

/** Any JSON in place of the standard answer; the call is not carried out. */
export const answerWith =
  (body: unknown, status = 200): GraphBehaviour =>
  ({ response }) =>
    sendJson(response, status, body)

/** The standard answer, changed. */
export const answerChanged =
  (change: (standard: Record<string, unknown>) => unknown): GraphBehaviour =>
  ({ response, standard }) =>
    sendJson(response, 200, change(standard() as Record<string, unknown>))

/** Carries the call out, then says nothing. */
export const carryOutAndHang = (): GraphBehaviour => (answering) => void answering.standard()
