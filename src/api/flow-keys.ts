import { z } from 'zod'
import { idPattern } from '../domain/ids.ts'
import {
  type FlowKeyFacts,
  insertFlowKey,
  listFlowKeys,
  requireRoomForFlowKey,
  retireFlowKey,
} from '../storage/flow-keys.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleId, exampleList, exampleTimes, exampleWabaId } from './example.ts'
import { requireWaba } from './existence.ts'
import { iso, isoTime, pathWaba } from './fields.ts'
import { flowKeyMembers, flowKeyRow, givenFlowKey } from './flow-key-input.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, workspaceOperation } from './operation.ts'
import { sealerFor } from './sealing.ts'

/** A flow key in a route's path. */
export const pathFlowKey = z.strictObject({ ...pathWaba, keyId: z.string().regex(idPattern('flowKey')) })

export const flowKeyBody = z.object({
  id: z.string(),
  fingerprint: z.string(),
  status: z.enum(['active', 'retired']),
  publicKey: z.string(),
  createdAt: isoTime,
  updatedAt: isoTime,
})

export const flowKeyExample = {
  id: exampleId('flowKey'),
  fingerprint: 'd4f1c2b3a4958677869504132231405f6e7d8c9bab1a2938475665748392a1b0',
  status: 'active' as const,
  publicKey: '-----BEGIN PUBLIC KEY-----\n…\n-----END PUBLIC KEY-----\n',
  ...exampleTimes,
}
const ofWaba = { wabaId: exampleWabaId }

export function flowKeyBodyOf(flowKey: FlowKeyFacts): z.input<typeof flowKeyBody> {
  const { id, fingerprint, status, publicKey, createdAt, updatedAt } = flowKey
  return { id, fingerprint, status, publicKey, createdAt: iso(createdAt), updatedAt: iso(updatedAt) }
}

export const create = workspaceOperation({
  summary: 'Make or import a flow key',
  description:
    'Without `privateKey` an RSA-2048 pair is made. Older keys go on opening requests until they are retired: publish the new one, wait ' +
    'until no call uses the old one any more (`relevo_flow_key_uses_total`), then retire that.',
  errors: ['already_exists', 'limit_reached'],
  example: { params: ofWaba, body: {}, answer: created(flowKeyExample) },
  params: z.strictObject(pathWaba),
  body: z.strictObject(flowKeyMembers),
  response: { 201: flowKeyBody },
  check: givenFlowKey,
  async handle({ deps, workspaceId, params, checked }) {
    await requireWaba(deps.database, workspaceId, params.wabaId)
    const requireRoom = () => requireRoomForFlowKey(deps.database, workspaceId, params.wabaId)
    const flowKey = checked ?? (await deps.flowKeyMaker.make(workspaceId, requireRoom))
    const row = flowKeyRow(flowKey, sealerFor(deps, workspaceId))
    const stored = await insertFlowKey(deps.database, workspaceId, params.wabaId, row)
    await deps.configChanged(workspaceId)
    return created(flowKeyBodyOf(stored))
  },
})

export const list = workspaceOperation({
  summary: "List a WABA's flow keys, retired ones included",
  example: { params: ofWaba, answer: ok(exampleList(flowKeyExample)) },
  params: z.strictObject(pathWaba),
  query: z.strictObject(pageMembers(idPattern('flowKey'))),
  response: { 200: listOf(flowKeyBody) },
  async handle({ deps, workspaceId, params, query }) {
    await requireWaba(deps.database, workspaceId, params.wabaId)
    const load = (page: Page) => listFlowKeys(deps.database, workspaceId, params.wabaId, page)
    return ok(await pageOf(query, load, byId, flowKeyBodyOf))
  },
})

export const retire = workspaceOperation({
  summary: 'Retire a flow key',
  description: 'Its private half is destroyed. The last active one cannot be retired.',
  errors: ['last_flow_key'],
  example: { params: { ...ofWaba, keyId: flowKeyExample.id }, answer: noContent() },
  params: pathFlowKey,
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await retireFlowKey(deps.database, workspaceId, params.wabaId, params.keyId)
    await deps.configChanged(workspaceId)
    return noContent()
  },
})
