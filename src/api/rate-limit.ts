import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { ApiError } from '../domain/errors.ts'

const windowMs = 1000
/** Callers that are counted at once. The one seen longest ago is forgotten first, and then counts anew. */
const mostCallers = 20_000

export interface RateLimit {
  /**
   * The hook that counts a request for its caller and sets the `RateLimit-*` headers; past the limit of the second it throws ApiError
   * `rate_limited`.
   */
  readonly count: onRequestAsyncHookHandler
  /** How many more of its caller are served in this second. */
  readonly left: (request: FastifyRequest) => Promise<number>
}

/** Counts are this process's own. `isFree`: not counted, and without the headers. */
export async function makeRateLimit(
  app: FastifyInstance,
  requestsPerSecond: number,
  callerOf: (request: FastifyRequest) => string,
  isFree: (request: FastifyRequest) => boolean,
): Promise<RateLimit> {
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
  const look = app.createRateLimit()
  return {
    count: app.rateLimit() as onRequestAsyncHookHandler,
    left: async (request) => {
      const state = await look(request, { increment: false })
      return state.isAllowed ? requestsPerSecond : state.remaining
    },
  }
}
