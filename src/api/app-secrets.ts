import { z } from 'zod'
import { idPattern, newId } from '../domain/ids.ts'
import { type AppSecretFacts, deleteAppSecret, insertAppSecret, listAppSecrets } from '../storage/app-secrets.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleId, exampleList, exampleTimes, exampleWabaId } from './example.ts'
import { requireWaba } from './existence.ts'
import { iso, isoTime, pathWaba, text } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, workspaceOperation } from './operation.ts'
import { comparerFor, sealerFor } from './sealing.ts'

export const appSecretInput = text(255)

/** That it is there: the secret itself never comes back. */
const appSecretBody = z.object({ id: z.string(), createdAt: isoTime, updatedAt: isoTime })

const example = { id: exampleId('appSecret'), ...exampleTimes }
const ofWaba = { wabaId: exampleWabaId }

function bodyOf({ id, createdAt, updatedAt }: AppSecretFacts): z.input<typeof appSecretBody> {
  return { id, createdAt: iso(createdAt), updatedAt: iso(updatedAt) }
}

export const create = workspaceOperation({
  summary: 'Add an app secret to a WABA',
  description: 'All of them are accepted, so that the secret of a Meta app can be reset without a gap.',
  errors: ['already_exists', 'limit_reached'],
  example: { params: ofWaba, body: { appSecret: 'another-example-app-secret' }, answer: created(example) },
  params: z.strictObject(pathWaba),
  body: z.strictObject({ appSecret: appSecretInput }),
  response: { 201: appSecretBody },
  async handle({ deps, workspaceId, params, body }) {
    await requireWaba(deps.database, workspaceId, params.wabaId)
    const id = newId('appSecret')
    const appSecretSealed = sealerFor(deps, workspaceId)('app_secret', id, body.appSecret)
    const isSame = comparerFor(deps, workspaceId)
    const stored = await insertAppSecret(deps.database, workspaceId, params.wabaId, { id, appSecretSealed }, (held) =>
      isSame('app_secret', held.id, held.appSecretSealed, body.appSecret),
    )
    await deps.configChanged(workspaceId)
    return created(bodyOf(stored))
  },
})

export const list = workspaceOperation({
  summary: "List a WABA's app secrets",
  example: { params: ofWaba, answer: ok(exampleList(example)) },
  params: z.strictObject(pathWaba),
  query: z.strictObject(pageMembers(idPattern('appSecret'))),
  response: { 200: listOf(appSecretBody) },
  async handle({ deps, workspaceId, params, query }) {
    await requireWaba(deps.database, workspaceId, params.wabaId)
    const load = (page: Page) => listAppSecrets(deps.database, workspaceId, params.wabaId, page)
    return ok(await pageOf(query, load, byId, bodyOf))
  },
})

export const remove = workspaceOperation({
  summary: 'Remove an app secret from a WABA',
  description: 'Calls of Meta that are signed with it are refused from now on.',
  example: { params: { ...ofWaba, id: example.id }, answer: noContent() },
  params: z.strictObject({ ...pathWaba, id: z.string().regex(idPattern('appSecret')) }),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await deleteAppSecret(deps.database, workspaceId, params.wabaId, params.id)
    await deps.configChanged(workspaceId)
    return noContent()
  },
})
