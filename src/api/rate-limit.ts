import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { ApiError } from '../domain/errors.ts'

const windowMs = 1000
/** Callers that are counted at once. The one seen longest ago is forgotten first, and then counts anew. */
const mostCallers = 20_000

/**
 * The hook that counts a request for its caller and sets the `RateLimit-*` headers; past the limit of the second it throws ApiError
 * `rate_limited`. Counts are this process's own. `isFree`: not counted, and without the headers.
 */
export async function makeRateLimit(
  app: FastifyInstance,
  requestsPerSecond: number,
  callerOf: (request: FastifyRequest) => string,
  isFree: (request: FastifyRequest) => boolean,
): Promise<onRequestAsyncHookHandler> {
  await app.register(rateLimit, {
    global: false,
    max: requestsPerSecond,
    timeWindow: windowMs,
    cache: mostCallers,
    enableDraftSpec: true,
    keyGenerator: callerOf,
    allowList: isFree,
    errorResponseBuilder: () => new ApiError('rate_limited', `at most ${requestsPerSecond} requests per second`),
  })
  return app.rateLimit() as onRequestAsyncHookHandler
}
