import type { IncomingMessage } from 'node:http'
import helmet from '@fastify/helmet'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ApiError, invalidBody } from '../domain/errors.ts'
import { decodeUtf8, hasTooManyValues, isTooDeep, maxJsonDepth, maxJsonValues } from '../domain/json.ts'
import { actorOf, type Caller, makeIdentify, namesApiKey } from './caller.ts'
import { keepSweeping } from './idempotency.ts'
import { registerDocs } from './openapi-page.ts'
import type { ApiDeps } from './operation.ts'
import { isOurs, problemOf, sendProblem } from './problem.ts'
import { makeRateLimit } from './rate-limit.ts'
import { prefix, registerRoutes } from './register.ts'
import { routes } from './routes.ts'

export type { ApiDeps } from './operation.ts'

/** Adds the API (contract.md §6) to the app, under /v1, with error and not-found handlers of its own, and the pages that describe it. */
export async function registerApi(app: FastifyInstance, deps: ApiDeps): Promise<void> {
  // Nothing that the API answers is a page: a browser that is made to show it may do nothing with it.
  const directives = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] }
  await app.register(helmet, { contentSecurityPolicy: { useDefaults: false, directives } })
  await app.register(registerDocs)
  await app.register(
    async (v1) => {
      readJsonOnly(v1, deps)
      answerErrors(v1, deps)
      await identifyCallers(v1, deps)
      registerRoutes(v1, deps, routes)
    },
    { prefix },
  )
  app.addHook('onClose', keepSweeping(deps))
}

/** Before routing counts for anything: who has no token does not learn which paths there are. */
async function identifyCallers(v1: FastifyInstance, deps: ApiDeps): Promise<void> {
  const identify = makeIdentify(deps.database, deps.adminToken)
  const refusals = new WeakMap<FastifyRequest, unknown>()
  v1.decorateRequest('caller', null)
  const nameOf = (request: FastifyRequest): string => {
    const caller = request.getDecorator<Caller | null>('caller')
    return caller === null ? `address ${request.ip}` : actorOf(caller)
  }
  // The limit is of API keys (contract.md §2): the operator has none, and whoever names none is told so at no cost.
  const isFree = (request: FastifyRequest): boolean => {
    const caller = request.getDecorator<Caller | null>('caller')
    return caller === null ? !namesApiKey(request.headers.authorization) : caller.kind === 'operator'
  }
  const countCall = await makeRateLimit(v1, deps.requestsPerSecond, nameOf, isFree)
  v1.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    try {
      request.setDecorator('caller', await identify(request.headers.authorization))
    } catch (error) {
      refusals.set(request, error)
    }
  })
  // Between the two, so that it counts per key, and guesses at keys per address.
  v1.addHook('onRequest', countCall)
  v1.addHook('onRequest', async (request) => {
    if (refusals.has(request)) throw refusals.get(request)
    if (request.is404) throw noSuchRoute()
  })
}

/**
 * For fastify's `frameworkErrors`: URLs that its router cannot read (broken escapes, a path member over its length) name nothing.
 * Its own answer would repeat the URL. Outside of the API the answer is empty.
 */
export function answerUnroutable(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  if (request.url.startsWith(`${prefix}/`)) sendProblem(reply.header('cache-control', 'no-store'), noSuchRoute())
  else reply.code(404).send()
}

function readJsonOnly(v1: FastifyInstance, { uploads }: ApiDeps): void {
  const parse = v1.getDefaultJsonParser('error', 'error')
  v1.removeAllContentTypeParsers()
  v1.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    const bytes = await uploads.read(payload, request.routeOptions.bodyLimit)
    if (bytes === 'too_large') throw new ApiError('body_too_large', 'the body is larger than this route takes')
    if (bytes === 'lost') throw invalidBody('ended before it was whole')
    // Clients name the type of a body that they do not send.
    if (bytes.length === 0) return undefined
    const json = decodeUtf8(bytes)
    if (json === null) throw invalidBody('is not valid UTF-8')
    if (hasTooManyValues(json, maxJsonValues)) throw invalidBody(`has more than ${maxJsonValues} values`)
    // Deeper documents parse, but cannot be written again without risk to the stack.
    if (isTooDeep(json)) throw invalidBody(`nests deeper than ${maxJsonDepth}`)
    return new Promise((resolve, reject) => {
      parse(request, json, (error, body) => (error === null ? resolve(body) : reject(error)))
    })
  })
}

const noSuchRoute = () => new ApiError('not_found', 'there is no such route')

function answerErrors(v1: FastifyInstance, deps: ApiDeps): void {
  v1.setErrorHandler((error: unknown, request, reply) => {
    const problem = problemOf(error)
    if (isOurs(problem)) deps.reportError(error, patternOf(request))
    return sendProblem(reply, problem)
  })
  v1.setNotFoundHandler((_request, reply) => sendProblem(reply, noSuchRoute()))
}

/** Method and pattern: a URL can hold a flow token. */
function patternOf(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? `${prefix}/*`}`
}
