import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { ApiError, type InputFault } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { operatorWorkspace } from '../storage/audit-log.ts'
import { StorageError } from '../storage/database.ts'
import { findWorkspace } from '../storage/workspaces.ts'
import { jsonAnswer, type Performed, type Repetition, sendAnswer } from './answer.ts'
import { audited, logOfOperatorCall } from './audit.ts'
import { actorOf, type Caller } from './caller.ts'
import { idempotencyHeader, idempotencyKeyPattern, once } from './idempotency.ts'
import type { Answer, ApiDeps } from './operation.ts'
import { faultsOf, inputProblem, isOurs, mostFaults, problemAnswer, problemOf } from './problem.ts'
import type { Route } from './routes.ts'

export const prefix = '/v1'
export const workspaceHeader = 'X-Workspace-Id'
const scopes: readonly unknown[] = ['operator', 'read', 'write'] satisfies Route['scope'][]

/**
 * Makes fastify routes of the list. In this order: scope, input, workspace, earlier answer, audit log, handler. Throws for a route that
 * does not say who may call it.
 */
export function registerRoutes(app: FastifyInstance, deps: ApiDeps, routes: readonly Route[]): void {
  for (const route of routes) {
    if (!scopes.includes(route.scope)) throw new Error(`${route.method} ${route.path} has no scope`)
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

/** A call that fits its schemas, in its workspace. */
interface ReadyCall {
  /** The workspace to which the call counts. */
  readonly workspaceId: WorkspaceId
  readonly params: unknown
  handle(): Promise<Answer>
}

async function run(route: Route, deps: ApiDeps, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const caller = callerOf(request)
  const call = await readCall(route, deps, caller, request)
  if (route.method === 'GET') return sendAnswer(reply, (await perform(route, deps, call)).answer)
  const { workspaceId, params } = call
  const { query, body } = request
  const actor = actorOf(caller)
  const change = () => audited(deps, { route, workspaceId, actor, params, body }, () => perform(route, deps, call))
  const idempotencyKey = route.method === 'POST' ? headerOf(request, idempotencyHeader) : undefined
  if (idempotencyKey === undefined) return sendAnswer(reply, (await change()).answer)
  const place = [route.method, route.path, JSON.stringify(params)]
  return sendAnswer(reply, await once(deps, { workspaceId, actor, route: place, idempotencyKey, query, body }, change))
}

/** Throws ApiError `invalid_input`, `not_found`. */
async function readCall(route: Route, deps: ApiDeps, caller: Caller, request: FastifyRequest): Promise<ReadyCall> {
  const { query, body } = readInput(route, caller, request)
  const checked = await route.check(body, deps)
  const read = route.params.safeParse(request.params)
  if (!read.success) throw new ApiError('not_found', 'there is nothing under this id')
  const params = read.data
  const call = { deps, caller, params, query, body, checked }
  if (route.tenancy === 'operator') {
    return { params, workspaceId: logOfOperatorCall(route, params), handle: () => route.handle(call) }
  }
  const workspaceId = await workspaceOf(route, deps, caller, request)
  return { params, workspaceId, handle: () => route.handle({ ...call, workspaceId }) }
}

/** Runs the handler; what it throws is an answer too. */
async function perform(route: Route, deps: ApiDeps, call: ReadyCall): Promise<Performed> {
  try {
    const { status, body, headers, written } = await call.handle()
    return { answer: jsonAnswer(status, route.response[status]?.parse(body), headers, written), repetition: 'answered' }
  } catch (error) {
    const problem = problemOf(error)
    if (isOurs(problem)) deps.reportError(error, `${route.method} ${route.path}`)
    return { answer: problemAnswer(problem), repetition: repetitionAfter(error, problem) }
  }
}

/**
 * A failure of ours is not kept, nor what is over in a second: the same call may be made again. A message that Meta may have sent all the
 * same is: it must not be sent twice. Nor must a change be made twice that the database may still carry out.
 */
function repetitionAfter(error: unknown, { status, code, members }: ApiError): Repetition {
  if (members.sendStatus === 'unknown') return 'answered'
  if (error instanceof StorageError && error.mayHaveHappened) return 'held_off'
  return status < 500 && code !== 'rate_limited' ? 'answered' : 'made_anew'
}

const noBodyGiven = z.strictObject({}).nullish()

/** Query and body as their schemas read them. Throws ApiError `invalid_input` with the faults of both, and of the headers. */
function readInput(route: Route, caller: Caller, request: FastifyRequest) {
  const faults: InputFault[] = []
  const read = (schema: z.ZodType, value: unknown) => {
    const result = schema.safeParse(value)
    // One more than are told, so that it is known that there are more.
    if (!result.success) faults.push(...faultsOf(result.error).take(mostFaults + 1))
    return result.data
  }
  if (route.tenancy === 'workspace' && caller.kind === 'operator' && !headerOf(request, workspaceHeader)) {
    faults.push({ path: workspaceHeader, message: 'this header must name the workspace when the operator calls' })
  }
  const idempotencyKey = headerOf(request, idempotencyHeader)
  if (route.method === 'POST' && idempotencyKey !== undefined && !idempotencyKeyPattern.test(idempotencyKey)) {
    faults.push({ path: idempotencyHeader, message: 'this header must be 1 to 255 printable ASCII characters' })
  }
  const query = read(route.query, request.query)
  // What is not sent is as good as an object without members.
  const given = request.body === undefined ? {} : request.body
  const body = route.body === null ? read(noBodyGiven, given) : read(route.body, given)
  if (faults.length > 0) throw inputProblem(faults)
  return { query, body }
}

/**
 * The workspace of the call. A key that names another workspace than its own is told that there is none, rather than being served
 * in a workspace it did not mean.
 */
async function workspaceOf(
  route: Route & { readonly tenancy: 'workspace' },
  deps: ApiDeps,
  caller: Caller,
  request: FastifyRequest,
): Promise<WorkspaceId> {
  const named = headerOf(request, workspaceHeader) as WorkspaceId | undefined
  if (caller.kind === 'workspace' && (named ?? caller.workspaceId) === caller.workspaceId) return caller.workspaceId
  if (caller.kind === 'operator' && route.reachesOutside && named === operatorWorkspace) return named
  const workspace = caller.kind === 'operator' && named ? await findWorkspace(deps.database, named) : null
  if (workspace === null) throw new ApiError('not_found', `${workspaceHeader}: there is no such workspace`)
  return workspace.id
}

function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name.toLowerCase()]
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
