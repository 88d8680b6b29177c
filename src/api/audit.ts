import { newUuid, type WorkspaceId } from '../domain/ids.ts'
import { isObject } from '../domain/json.ts'
import { beginAudit, endAudit, operatorWorkspace } from '../storage/audit-log.ts'
import type { Performed, SentAnswer } from './answer.ts'
import type { ApiDeps } from './operation.ts'
import type { Route } from './routes.ts'

/** A change that is about to be made. */
export interface Change {
  readonly route: Route
  readonly workspaceId: WorkspaceId
  readonly actor: string
  /** Of the path. */
  readonly params: unknown
  readonly body: unknown
}

/**
 * Writes who does what to what before `run`, and how it ended after it. Names of members are kept, values never. A change whose
 * process dies stays in the log without a status.
 */
export async function audited(deps: ApiDeps, change: Change, run: () => Promise<Performed>): Promise<Performed> {
  const { route, workspaceId, actor, params, body } = change
  const id = newUuid()
  const action = `${route.method} ${route.path}`
  const members = isObject(body) ? Object.keys(body) : []
  const named = namedByPath(route, params)
  await beginAudit(deps.database, workspaceId, {
    id,
    actor,
    action,
    resourceId: named,
    members,
    createdAt: new Date(),
  })
  const performed = await run()
  const { answer } = performed
  const end = { status: answer.status, resourceId: madeBy(answer) ?? named }
  // The change is made: that the log could not be finished must not turn its answer into another.
  await endAudit(deps.database, workspaceId, id, end).catch((error: unknown) => deps.reportError(error, action))
  return performed
}

/** Where a call outside of workspaces is logged: in the workspace that its path leads into, else with the operator's own. */
export function logOfOperatorCall(route: Route, params: unknown): WorkspaceId {
  const leadsInto = route.path.startsWith('/v1/workspaces/:id/') && isObject(params) ? params.id : operatorWorkspace
  return leadsInto as WorkspaceId
}

/** The last id of the path: what the call is about. */
function namedByPath({ path }: Route, params: unknown): string | null {
  const [, name] = /:(\w+)[^:]*$/.exec(path) ?? []
  const id = name !== undefined && isObject(params) ? params[name] : null
  return typeof id === 'string' ? id : null
}

/** The id of what the call made, as its answer names it. */
function madeBy({ status, json }: SentAnswer): string | null {
  if (status !== 201 || json === null) return null
  const body: unknown = JSON.parse(json)
  const id = isObject(body) ? (body.id ?? body.wabaId) : null
  return typeof id === 'string' ? id : null
}
