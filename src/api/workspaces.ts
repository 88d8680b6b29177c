import { z } from 'zod'
import type { WorkspaceId } from '../domain/ids.ts'
import { idPattern } from '../domain/ids.ts'
import { createWorkspace, findWorkspace, listWorkspaces, type Workspace } from '../storage/workspaces.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, operatorOperation } from './operation.ts'

const workspaceBody = z.object({ id: z.string(), name: z.string(), createdAt: isoTime, updatedAt: isoTime })

function bodyOf(workspace: Workspace): z.input<typeof workspaceBody> {
  return { ...workspace, createdAt: iso(workspace.createdAt), updatedAt: iso(workspace.updatedAt) }
}

export const create = operatorOperation({
  body: z.strictObject({ name: text(200) }),
  response: { 201: workspaceBody },
  async handle({ deps, body }) {
    const workspace = await createWorkspace(deps.database, body.name)
    await deps.configChanged(workspace.id)
    return created(bodyOf(workspace))
  },
})

export const list = operatorOperation({
  query: z.strictObject(pageMembers(idPattern('workspace'))),
  response: { 200: listOf(workspaceBody) },
  async handle({ deps, query }) {
    return ok(await pageOf(query, (page) => listWorkspaces(deps.database, page), byId, bodyOf))
  },
})

export const get = operatorOperation({
  params: pathId('workspace'),
  response: { 200: workspaceBody },
  async handle({ deps, params }) {
    const workspace = await findWorkspace(deps.database, params.id as WorkspaceId)
    return ok(bodyOf(found(workspace, 'workspace')))
  },
})
