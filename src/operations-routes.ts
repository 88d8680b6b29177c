import type { FastifyInstance } from 'fastify'
import { equalBytes, sha256 } from './crypto/digest.ts'

export interface OperationsParts {
  readonly adminToken: string
  /** The page of `/metrics`. */
  readonly render: () => Promise<string>
  readonly contentType: string
  /** Whether calls can be answered: the keys are loaded, or the database fits. Stays true when the database goes away later. */
  readonly isReady: () => boolean
}

/** What every role serves: `/livez`, `/readyz`, `/metrics` (contract.md §6). */
export async function registerOperationsRoutes(app: FastifyInstance, parts: OperationsParts): Promise<void> {
  const expected = sha256(parts.adminToken)
  app.get('/livez', () => ({ status: 'alive' }))
  app.get('/readyz', (_request, reply) =>
    parts.isReady() ? { status: 'ready' } : reply.code(503).send({ status: 'keys not loaded' }),
  )
  app.get('/metrics', async (request, reply) => {
    const given = /^Bearer +(.*)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
    if (!equalBytes(sha256(given), expected)) {
      return reply.code(401).header('WWW-Authenticate', 'Bearer').send()
    }
    return reply.type(parts.contentType).send(await parts.render())
  })
}
