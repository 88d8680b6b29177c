import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { LoopClock } from '../ops/loop-clock.ts'
import type { Uploads } from '../ops/uploads.ts'
import type { Exchange } from './exchange.ts'
import type { MetaAnswer } from './repeats.ts'

/** Larger bodies get 413: contract.md §3. */
export const maxBodyBytes = 1024 * 1024

export interface ExchangeRouteParts {
  readonly exchange: Exchange
  readonly clock: LoopClock
  readonly uploads: Uploads
  /** False: the connection is not kept for another call. */
  readonly keepsConnections: () => boolean
}

interface RouteParams {
  readonly wabaId: string
  readonly metaFlowId?: string
}

/**
 * The exchange route. It answers from the `onRequest` hook on the raw request: the signature is over the exact bytes, no
 * content type may be refused (protocol.md 1.1), and the framework's parsing would be work for nothing.
 */
export async function registerExchangeRoute(app: FastifyInstance, parts: ExchangeRouteParts): Promise<void> {
  for (const url of ['/api/whatsapp/flows/:wabaId/data', '/api/whatsapp/flows/:wabaId/:metaFlowId/data']) {
    app.route<{ Params: RouteParams }>({
      method: 'POST',
      url,
      onRequest: async (request, reply) => {
        const startedAt = parts.clock.arrival()
        reply.hijack()
        const answer = await answerRaw(parts, request, startedAt)
        if (answer !== null) send(reply.raw, answer, parts.keepsConnections())
      },
      handler: () => undefined,
    })
    app.route({
      method: ['GET', 'PUT', 'PATCH', 'DELETE'],
      url,
      handler: (_request, reply) => reply.code(405).header('Allow', 'POST').send(),
    })
  }
}

async function answerRaw(
  { exchange, clock, uploads }: ExchangeRouteParts,
  request: FastifyRequest<{ Params: RouteParams }>,
  startedAt: number,
): Promise<MetaAnswer | null> {
  const { wabaId, metaFlowId = null } = request.params
  const account = exchange.admit(wabaId)
  const body = await uploads.read(request.raw, maxBodyBytes)
  if (body === 'lost') return null
  if (typeof account === 'string') return exchange.refuse(account, wabaId, startedAt)
  if (body === 'too_large') return exchange.refuse('body_too_large', wabaId, startedAt)
  const signature = request.raw.headers['x-hub-signature-256']
  const header = Array.isArray(signature) ? undefined : signature
  return exchange.answer({ wabaId, metaFlowId, body, signature: header, startedAt, completeAt: clock.arrival() })
}

function send(response: ServerResponse, { status, body }: MetaAnswer, keepsConnection: boolean): void {
  if (body !== '') response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  if (status === 413 || !keepsConnection) response.setHeader('Connection', 'close')
  response.setHeader('Content-Length', body.length)
  response.writeHead(status).end(body)
}
