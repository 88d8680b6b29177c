import type { FastifyInstance } from 'fastify'
import { equalBytes, sha256 } from './crypto/digest.ts'
import type { Metrics } from './ops/metrics.ts'

export interface OperationsParts {
  readonly adminToken: string
  readonly metrics: Metrics
  /** Whether calls can be answered: the keys are loaded. Stays true when the database goes away later. */
  readonly ready: () => boolean
}

/** What every role serves: `/livez`, `/readyz`, `/metrics` (contract.md §6). */
export async function registerOperationsRoutes(app: FastifyInstance, parts: OperationsParts): Promise<void> {
  const expected = sha256(`Bearer ${parts.adminToken}`)
  app.get('/livez', () => ({ status: 'alive' }))
  app.get('/readyz', (_request, reply) =>
    parts.ready() ? { status: 'ready' } : reply.code(503).send({ status: 'keys not loaded' }),
  )
  app.get('/metrics', async (request, reply) => {
    if (!equalBytes(sha256(request.headers.authorization ?? ''), expected)) {
      return reply.code(401).header('WWW-Authenticate', 'Bearer').send()
    }
    return reply.type(parts.metrics.contentType).send(await parts.metrics.render())
  })
}
