import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { ApiError, type InputFault } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { findWorkspace } from '../storage/workspaces.ts'
import type { Caller } from './caller.ts'
import type { ApiDeps } from './operation.ts'
import { faultsOf, inputProblem } from './problem.ts'
import type { Route } from './routes.ts'

export const prefix = '/v1'
const workspaceHeader = 'X-Workspace-Id'

/** Makes fastify routes of the list: scope, validation, workspace, handler, answer, in this order. */
export function registerRoutes(app: FastifyInstance, deps: ApiDeps, routes: readonly Route[]): void {
  for (const route of routes) {
    app.route({
      method: route.method,
      url: route.path.slice(prefix.length),
      bodyLimit: route.bodyLimitBytes,
      onRequest: async (request) => requireScope(callerOf(request), route.scope),
      handler: (request, reply) => run(route, deps, request, reply),
    })
  }
  for (const [path, methods] of methodsByPath(routes)) registerOtherMethods(app, path, methods)
}

function callerOf(request: FastifyRequest): Caller {
  return request.getDecorator<Caller>('caller')
}

function requireScope(caller: Caller, scope: Route['scope']): void {
  if (caller.kind === 'operator') return
  if (scope === 'operator') throw new ApiError('forbidden', 'this route is for the operator')
  if (!caller.scopes.includes(scope)) throw new ApiError('forbidden', `this key lacks the scope ${scope}`)
}

async function run(route: Route, deps: ApiDeps, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const caller = callerOf(request)
  const { query, body } = readInput(route, caller, request)
  const checked = route.check(body, deps)
  const params = route.params.safeParse(request.params)
  if (!params.success) throw new ApiError('not_found', 'there is nothing under this id')
  const call = { deps, caller, params: params.data, query, body, checked }
  const answer =
    route.tenancy === 'operator'
      ? await route.handle(call)
      : await route.handle({ ...call, workspaceId: await workspaceOf(deps, caller, request) })
  return reply.code(answer.status).send(route.response[answer.status]?.parse(answer.body))
}

/** Query and body as their schemas read them. Throws ApiError `invalid_input` with the faults of both. */
function readInput(route: Route, caller: Caller, request: FastifyRequest) {
  const faults: InputFault[] = []
  const read = (schema: z.ZodType, value: unknown) => {
    const result = schema.safeParse(value)
    if (!result.success) faults.push(...faultsOf(result.error))
    return result.data
  }
  if (route.tenancy === 'workspace' && caller.kind === 'operator' && !headerOf(request)) {
    faults.push({ path: workspaceHeader, message: 'this header must name the workspace when the operator calls' })
  }
  const query = read(route.query, request.query)
  const body = route.body === null ? undefined : read(route.body, request.body)
  if (faults.length > 0) throw inputProblem(faults)
  return { query, body }
}

/**
 * The workspace of the call. A key that names another workspace than its own is told that there is none, rather than being served
 * in a workspace it did not mean.
 */
async function workspaceOf(deps: ApiDeps, caller: Caller, request: FastifyRequest): Promise<WorkspaceId> {
  const named = headerOf(request) as WorkspaceId | undefined
  if (caller.kind === 'workspace' && (named ?? caller.workspaceId) === caller.workspaceId) return caller.workspaceId
  const workspace = caller.kind === 'operator' && named ? await findWorkspace(deps.database, named) : null
  if (workspace === null) throw new ApiError('not_found', `${workspaceHeader}: there is no such workspace`)
  return workspace.id
}

function headerOf(request: FastifyRequest): string | undefined {
  const value = request.headers[workspaceHeader.toLowerCase()]
  return typeof value === 'string' ? value : undefined
}

function methodsByPath(routes: readonly Route[]): Map<string, Route['method'][]> {
  const byPath = Map.groupBy(routes, (route) => route.path)
  return new Map([...byPath].map(([path, ofPath]) => [path, ofPath.map((route) => route.method)]))
}

/** 405 for what a path does not take. Refused before the body is read. */
function registerOtherMethods(app: FastifyInstance, path: string, methods: readonly string[]): void {
  const taken = methods.includes('GET') ? [...methods, 'HEAD'] : methods
  const allow = taken.join(', ')
  app.route({
    method: app.supportedMethods.filter((method) => !taken.includes(method)),
    url: path.slice(prefix.length),
    onRequest: async (_request, reply) => {
      reply.header('allow', allow)
      throw new ApiError('method_not_allowed', `this path takes ${allow}`)
    },
    handler: () => undefined,
  })
}
