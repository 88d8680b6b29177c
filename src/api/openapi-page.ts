import swagger, { type StaticDocumentSpec } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sha256 } from '../crypto/digest.ts'
import { jsonType } from './answer.ts'
import { describeApi } from './openapi.ts'
import { routes } from './routes.ts'

/** What the page needs to read and try the API, from its own host. swagger-ui sets styles of elements. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** `/openapi.json`, and `/docs` to read it. Neither needs a token, so neither may cost more than its bytes. */
export async function registerDocs(app: FastifyInstance): Promise<void> {
  // Made when it is first asked for: it takes 50 ms, and most processes are never asked.
  let made: WrittenDocument | null = null
  const sendDocument = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    made ??= writeDocument()
    reply.header('etag', made.etag).header('cache-control', 'no-cache')
    if (request.headers['if-none-match']?.includes(made.etag)) return reply.code(304).send()
    return reply.type(jsonType).send(made.bytes)
  }
  app.get('/openapi.json', sendDocument)
  await app.register(swagger, { mode: 'static', specification: { document: {} as StaticDocumentSpec['document'] } })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    theme: { title: 'Relevo API' },
    uiConfig: { layout: 'BaseLayout', docExpansion: 'list', deepLinking: true },
    // In place of swagger-ui's own two, which write the document anew at each call: as YAML that takes 110 ms of the event loop.
    uiHooks: {
      onRequest: async (request, reply) => {
        const { url } = request.routeOptions
        if (url === '/docs/json') return sendDocument(request, reply)
        if (url === '/docs/yaml') return reply.callNotFound()
      },
    },
  })
}

interface WrittenDocument {
  readonly bytes: Buffer
  /** Quoted, as the header has it. */
  readonly etag: string
}

function writeDocument(): WrittenDocument {
  const bytes = Buffer.from(JSON.stringify(describeApi(routes)))
  return { bytes, etag: `"${sha256(bytes).toString('base64url')}"` }
}
