import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Uploads } from '../ops/uploads.ts'
import type { MetaWebhook, MetaWebhookAnswer } from './meta-webhook.ts'

/** Larger bodies get 413. Meta sends up to 3 MB (protocol.md 5.2). */
const maxBodyBytes = 3 * 1024 * 1024

interface Route {
  readonly Params: { readonly wabaId?: string }
  readonly Querystring: Readonly<Record<string, unknown>>
}

/**
 * Meta's webhooks (contract.md §5): the platform's own app, and one address for each WABA whose tenant has a Meta app of its own. Like the
 * exchange route they answer from `onRequest`: the signature is over the exact bytes.
 */
export async function registerMetaWebhookRoutes(
  app: FastifyInstance,
  webhook: MetaWebhook,
  uploads: Uploads,
): Promise<void> {
  for (const url of ['/api/whatsapp/webhook', '/api/whatsapp/webhook/:wabaId']) {
    app.route<Route>({
      method: ['GET', 'POST'],
      url,
      exposeHeadRoute: false,
      onRequest: async (request, reply) => {
        reply.hijack()
        const answer =
          request.method === 'GET'
            ? webhook.verification(request.params.wabaId ?? null, request.query)
            : await answerPost(webhook, uploads, request)
        if (answer !== null) send(reply.raw, answer, app.server.listening)
      },
      handler: () => undefined,
    })
    app.route({
      method: ['HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
      url,
      handler: (_request, reply) => reply.code(405).header('Allow', 'GET, POST').send(),
    })
  }
}

async function answerPost(
  webhook: MetaWebhook,
  uploads: Uploads,
  request: FastifyRequest<Route>,
): Promise<MetaWebhookAnswer | null> {
  const body = await uploads.read(request.raw, maxBodyBytes)
  if (body === 'lost') return null
  if (body === 'too_large') return { status: 413, body: '' }
  const signature = request.raw.headers['x-hub-signature-256']
  const header = Array.isArray(signature) ? undefined : signature
  return webhook.receive({ wabaId: request.params.wabaId ?? null, body, signature: header })
}

/** The challenge is whatever the caller wrote: nothing may take it for a page (protocol.md 5.1). */
function send(response: ServerResponse, { status, body }: MetaWebhookAnswer, listening: boolean): void {
  if (body !== '') response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  response.setHeader('X-Content-Type-Options', 'nosniff')
  if (status === 413 || !listening) response.setHeader('Connection', 'close')
  response.setHeader('Content-Length', Buffer.byteLength(body))
  response.writeHead(status).end(body)
}
