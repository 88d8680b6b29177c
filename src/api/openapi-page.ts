import swagger, { type StaticDocumentSpec } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { jsonType } from './answer.ts'
import { type ApiDocument, describeApi } from './openapi.ts'
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

/** `/openapi.json`, and `/docs` to read it. Neither needs a token. */
export async function registerDocs(app: FastifyInstance): Promise<void> {
  // Made when it is first asked for: it takes 50 ms, and most processes are never asked.
  let made: ApiDocument | null = null
  const document = () => {
    made ??= describeApi(routes)
    return made
  }
  app.get('/openapi.json', (_request, reply) => reply.type(jsonType).send(JSON.stringify(document())))
  await app.register(swagger, { mode: 'static', specification: { document: {} as StaticDocumentSpec['document'] } })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: contentSecurityPolicy,
    transformSpecification: document,
    transformSpecificationClone: false,
    theme: { title: 'Relevo API' },
    uiConfig: { layout: 'BaseLayout', docExpansion: 'list', deepLinking: true },
  })
}
