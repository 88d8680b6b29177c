import { z } from 'zod'
import { sha256 } from '../crypto/digest.ts'
import { idPattern, newId, type WorkspaceId } from '../domain/ids.ts'
import { type ApiKey, apiKeyScopes, insertApiKey, listApiKeys } from '../storage/api-keys.ts'
import { findWorkspace, type Page } from '../storage/workspaces.ts'
import { newApiKey } from './caller.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId, text, unique } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { type ApiDeps, created, ok, operatorOperation } from './operation.ts'

const apiKeyBody = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.enum(apiKeyScopes)),
  prefix: z.string(),
  lastUsedAt: isoTime.nullable(),
  createdAt: isoTime,
  updatedAt: isoTime,
})
/** The key itself is shown here and never again. */
const newApiKeyBody = apiKeyBody.extend({ key: z.string() })

function bodyOf(key: ApiKey): z.input<typeof apiKeyBody> {
  return {
    id: key.id,
    name: key.name,
    scopes: key.scopes,
    prefix: key.keyPrefix,
    lastUsedAt: iso(key.lastUsedAt),
    createdAt: iso(key.createdAt),
    updatedAt: iso(key.updatedAt),
  }
}

async function workspaceIn(deps: ApiDeps, params: { id: string }): Promise<WorkspaceId> {
  return found(await findWorkspace(deps.database, params.id as WorkspaceId), 'workspace').id
}

export const create = operatorOperation({
  params: pathId('workspace'),
  body: z.strictObject({
    name: text(100),
    scopes: unique(z.array(z.enum(apiKeyScopes)).min(1)).default([...apiKeyScopes]),
  }),
  response: { 201: newApiKeyBody },
  async handle({ deps, params, body }) {
    const workspaceId = await workspaceIn(deps, params)
    const { apiKey, keyPrefix } = newApiKey(workspaceId)
    const row = { id: newId('apiKey'), ...body, keyPrefix, keyDigest: sha256(apiKey) }
    const stored = await insertApiKey(deps.database, workspaceId, row)
    return created({ ...bodyOf(stored), key: apiKey })
  },
})

export const list = operatorOperation({
  params: pathId('workspace'),
  query: z.strictObject(pageMembers(idPattern('apiKey'))),
  response: { 200: listOf(apiKeyBody) },
  async handle({ deps, params, query }) {
    const workspaceId = await workspaceIn(deps, params)
    const load = (page: Page) => listApiKeys(deps.database, workspaceId, page)
    return ok(await pageOf(query, load, byId, bodyOf))
  },
})
