import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ApiError, apiErrorCodes } from '../domain/errors.ts'
import { isTooDeep, maxJsonDepth } from '../domain/json.ts'
import { makeIdentify } from './caller.ts'
import type { ApiDeps } from './operation.ts'
import { problemOf, sendProblem } from './problem.ts'
import { prefix, registerRoutes } from './register.ts'
import { routes } from './routes.ts'

export type { ApiDeps } from './operation.ts'

/** Adds the API (contract.md §6) to the app, under /v1, with error and not-found handlers of its own. */
export async function registerApi(app: FastifyInstance, deps: ApiDeps): Promise<void> {
  await app.register(
    async (v1) => {
      readJsonOnly(v1)
      answerErrors(v1, deps)
      const identify = makeIdentify(deps.database, deps.adminToken)
      v1.decorateRequest('caller', null)
      // Before routing counts for anything: who has no token does not learn which paths there are.
      v1.addHook('onRequest', async (request, reply) => {
        reply.header('cache-control', 'no-store')
        request.setDecorator('caller', await identify(request.headers.authorization))
      })
      registerRoutes(v1, deps, routes)
    },
    { prefix },
  )
}

/**
 * For fastify's `frameworkErrors`: URLs that its router cannot read (broken escapes, a path member over its length) name nothing.
 * Its own answer would repeat the URL. Outside of the API the answer is empty.
 */
export function answerUnroutable(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  if (request.url.startsWith(`${prefix}/`)) sendProblem(reply, new ApiError('not_found', 'there is no such route'))
  else reply.code(404).send()
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function readJsonOnly(v1: FastifyInstance): void {
  const parse = v1.getDefaultJsonParser('error', 'error')
  v1.removeAllContentTypeParsers()
  v1.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    const json = decode(bytes)
    if (json === null) return done(new ApiError('invalid_input', 'the body is not valid UTF-8'))
    // Deeper documents parse, but cannot be written again without risk to the stack.
    if (isTooDeep(json)) return done(new ApiError('invalid_input', `the body nests deeper than ${maxJsonDepth}`))
    return parse(request, json, done)
  })
}

function decode(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes)
  } catch {
    return null
  }
}

function answerErrors(v1: FastifyInstance, deps: ApiDeps): void {
  v1.setErrorHandler((error: unknown, request, reply) => {
    const problem = problemOf(error)
    if (apiErrorCodes[problem.code][0] >= 500) deps.reportError(error, patternOf(request))
    return sendProblem(reply, problem)
  })
  v1.setNotFoundHandler((_request, reply) => sendProblem(reply, new ApiError('not_found', 'there is no such route')))
}

/** Method and pattern: a URL can hold a flow token. */
function patternOf(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? `${prefix}/*`}`
}
