import { z } from 'zod'
import type { WorkspaceId } from '../domain/ids.ts'
import { idPattern } from '../domain/ids.ts'
import { deleteWorkspace } from '../storage/workspace-deletion.ts'
import {
  createWorkspace,
  findWorkspace,
  listWorkspaces,
  updateWorkspace,
  type Workspace,
} from '../storage/workspaces.ts'
import { exampleId, exampleList, exampleTimes } from './example.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, operatorOperation } from './operation.ts'

const workspaceInput = z.strictObject({ name: text(200) })
const workspaceBody = z.object({ id: z.string(), name: z.string(), createdAt: isoTime, updatedAt: isoTime })

const example = { id: exampleId('workspace'), name: 'Example Shop', ...exampleTimes }

function bodyOf(workspace: Workspace): z.input<typeof workspaceBody> {
  return { ...workspace, createdAt: iso(workspace.createdAt), updatedAt: iso(workspace.updatedAt) }
}

export const create = operatorOperation({
  summary: 'Make a workspace',
  example: { body: { name: example.name }, answer: created(example) },
  body: workspaceInput,
  response: { 201: workspaceBody },
  async handle({ deps, body }) {
    const workspace = await createWorkspace(deps.database, body.name)
    await deps.configChanged(workspace.id)
    return created(bodyOf(workspace))
  },
})

export const list = operatorOperation({
  summary: 'List workspaces',
  example: { answer: ok(exampleList(example)) },
  query: z.strictObject(pageMembers(idPattern('workspace'))),
  response: { 200: listOf(workspaceBody) },
  async handle({ deps, query }) {
    return ok(await pageOf(query, (page) => listWorkspaces(deps.database, page), byId, bodyOf))
  },
})

export const get = operatorOperation({
  summary: 'Read a workspace',
  example: { params: { id: example.id }, answer: ok(example) },
  params: pathId('workspace'),
  response: { 200: workspaceBody },
  async handle({ deps, params }) {
    const workspace = await findWorkspace(deps.database, params.id as WorkspaceId)
    return ok(bodyOf(found(workspace, 'workspace')))
  },
})

export const update = operatorOperation({
  summary: 'Change a workspace',
  example: { params: { id: example.id }, body: { name: example.name }, answer: ok(example) },
  params: pathId('workspace'),
  body: workspaceInput.partial(),
  response: { 200: workspaceBody },
  async handle({ deps, params, body }) {
    return ok(bodyOf(await updateWorkspace(deps.database, params.id as WorkspaceId, body)))
  },
})

export const remove = operatorOperation({
  summary: 'Remove a workspace and all that belongs to it',
  description:
    'Its exchanges and flow responses go too. Its audit log stays in the database, in the table `audit_log`, where the API no longer shows ' +
    'it. Calls of Meta to its WABAs are then unknown.',
  example: { params: { id: example.id }, answer: noContent() },
  params: pathId('workspace'),
  response: { 204: noBody },
  async handle({ deps, params }) {
    const workspaceId = params.id as WorkspaceId
    await deleteWorkspace(deps.database, workspaceId)
    await deps.configChanged(workspaceId)
    return noContent()
  },
})
