import { z } from 'zod'
import { sha256 } from '../crypto/digest.ts'
import { idPattern, newId, type WorkspaceId } from '../domain/ids.ts'
import { type ApiKey, apiKeyScopes, deleteApiKey, insertApiKey, listApiKeys } from '../storage/api-keys.ts'
import { findWorkspace, type Page } from '../storage/workspaces.ts'
import { newApiKey } from './caller.ts'
import { exampleId, exampleList, exampleTimes } from './example.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId, text, unique } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { type ApiDeps, created, noBody, noContent, ok, operatorOperation } from './operation.ts'

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

const example = {
  id: exampleId('apiKey'),
  name: 'Backend',
  scopes: ['read' as const],
  prefix: `rlv_${exampleId('workspace').slice(3)}_kX81Zq`,
  lastUsedAt: null,
  ...exampleTimes,
}
const ofWorkspace = { id: exampleId('workspace') }

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
  summary: 'Make an API key of a workspace',
  description: 'The answer is the only place where `key` is shown.',
  example: {
    params: ofWorkspace,
    body: { name: example.name, scopes: example.scopes },
    answer: created({ ...example, key: `${example.prefix}${'…'}` }),
  },
  params: pathId('workspace'),
  body: z.strictObject({
    name: text(100),
    scopes: unique(z.array(z.enum(apiKeyScopes)).min(1).max(apiKeyScopes.length)).default([...apiKeyScopes]),
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
  summary: "List a workspace's API keys",
  example: { params: ofWorkspace, answer: ok(exampleList(example)) },
  params: pathId('workspace'),
  query: z.strictObject(pageMembers(idPattern('apiKey'))),
  response: { 200: listOf(apiKeyBody) },
  async handle({ deps, params, query }) {
    const workspaceId = await workspaceIn(deps, params)
    const load = (page: Page) => listApiKeys(deps.database, workspaceId, page)
    return ok(await pageOf(query, load, byId, bodyOf))
  },
})

export const remove = operatorOperation({
  summary: 'Revoke an API key',
  description: 'It is dead at once, in every process.',
  example: { params: { ...ofWorkspace, keyId: example.id }, answer: noContent() },
  params: z.strictObject({
    id: z.string().regex(idPattern('workspace')),
    keyId: z.string().regex(idPattern('apiKey')),
  }),
  response: { 204: noBody },
  async handle({ deps, params }) {
    await deleteApiKey(deps.database, params.id as WorkspaceId, params.keyId)
    return noContent()
  },
})
