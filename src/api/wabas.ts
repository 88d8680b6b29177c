import { z } from 'zod'
import { ApiError } from '../domain/errors.ts'
import { idPattern, newId, type WorkspaceId } from '../domain/ids.ts'
import { mostAppSecrets } from '../storage/app-secrets.ts'
import { moveWaba } from '../storage/waba-move.ts'
import {
  deleteWaba,
  findWaba,
  insertWaba,
  listWabas,
  mostWabas,
  requireClaimable,
  updateWaba,
  type Waba,
  type WabaMembers,
  type WabaPage,
} from '../storage/wabas.ts'
import { findWorkspace, type Page } from '../storage/workspaces.ts'
import { appSecretInput } from './app-secrets.ts'
import { exampleList, exampleWabaId } from './example.ts'
import { found } from './existence.ts'
import { iso, metaId, pathWaba, text, time } from './fields.ts'
import { flowKeyMembers, flowKeyRow, givenFlowKey } from './flow-key-input.ts'
import { listOf, pageMembers, pageOf } from './list.ts'
import { type ApiDeps, created, noBody, noContent, ok, workspaceOperation } from './operation.ts'
import { resealerFor, sealerFor, sealMember } from './sealing.ts'
import { verifications, wabaBody, wabaBodyOf, wabaExample, wabaExampleInput } from './waba-body.ts'
import { verifiedByToken } from './waba-verification.ts'

const members = {
  name: text(200).nullish(),
  accessToken: text(4096)
    .regex(/^[\x21-\x7e]+$/, 'must be ASCII without spaces')
    .nullish(),
  verifyToken: text(255).nullish().describe("what Meta is to send when it verifies the webhook of the WABA's own app"),
  requireTokenSignature: z
    .boolean()
    .optional()
    .describe('427 for exchanges whose flow token signature is invalid or absent (data API 4.0)'),
}

const wabaInput = z.strictObject({
  wabaId: metaId,
  ...members,
  appSecrets: z.array(appSecretInput).max(mostAppSecrets).default([]),
  ...flowKeyMembers,
})

const wabaChanges = z.strictObject({
  ...members,
  verification: z.enum(verifications).optional().describe('for the operator'),
  verified: z.boolean().optional().describe('for the operator: the same as `verification`, which goes before it'),
  workspaceId: z
    .string()
    .regex(idPattern('workspace'), 'must be the id of a workspace')
    .optional()
    .describe('for the operator: moves the WABA'),
})
type WabaChanges = z.output<typeof wabaChanges>

export const create = workspaceOperation({
  summary: 'Register a WABA and make or import its first flow key',
  description:
    'Without `privateKey` an RSA-2048 pair is made. Made with a workspace key, the WABA is `unverified`. ' +
    `A workspace has at most ${mostWabas}.`,
  errors: ['waba_taken', 'limit_reached'],
  example: { body: wabaExampleInput, answer: created(wabaExample) },
  body: wabaInput,
  response: { 201: wabaBody },
  check: givenFlowKey,
  async handle({ deps, caller, workspaceId, body, checked }) {
    const requireRoom = () => requireClaimable(deps.database, workspaceId, body.wabaId)
    const flowKey = checked ?? (await deps.flowKeyMaker.make(workspaceId, requireRoom))
    const { wabaId, name = null, accessToken, verifyToken, requireTokenSignature = false } = body
    const seal = sealerFor(deps, workspaceId)
    const waba = await insertWaba(deps.database, workspaceId, {
      wabaId,
      name,
      // Only the operator's word proves that a workspace owns a WABA: contract.md §6.
      verified: caller.kind === 'operator',
      requireTokenSignature,
      accessTokenSealed: sealMember(seal, 'access_token', wabaId, accessToken) ?? null,
      verifyTokenSealed: sealMember(seal, 'verify_token', wabaId, verifyToken) ?? null,
      appSecrets: [...new Set(body.appSecrets)].map((appSecret) => {
        const id = newId('appSecret')
        return { id, appSecretSealed: seal('app_secret', id, appSecret) }
      }),
      flowKey: flowKeyRow(flowKey, seal),
    })
    await deps.configChanged(workspaceId)
    return created(wabaBodyOf(await verifiedByToken(deps, workspaceId, waba, accessToken), workspaceId, deps))
  },
})

const position = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\/([0-9A-Za-z_-]{1,64})$/

function positionOf(waba: Waba): string {
  return `${iso(waba.createdAt)}/${waba.wabaId}`
}

function readPosition(cursor: string | null): WabaPage['before'] {
  const [, createdAt, wabaId] = position.exec(cursor ?? '') ?? []
  // Digits need be no time, and PostgreSQL has no year 0.
  const { data } = time.safeParse(createdAt)
  return data && wabaId ? { createdAt: data, wabaId } : null
}

export const list = workspaceOperation({
  summary: 'List WABAs',
  example: { answer: ok(exampleList(wabaExample)) },
  query: z.strictObject(pageMembers({ test: (cursor) => readPosition(cursor) !== null })),
  response: { 200: listOf(wabaBody) },
  async handle({ deps, workspaceId, query }) {
    const load = ({ limit, before }: Page) =>
      listWabas(deps.database, workspaceId, { limit, before: readPosition(before) })
    return ok(await pageOf(query, load, positionOf, (waba) => wabaBodyOf(waba, workspaceId, deps)))
  },
})

export const get = workspaceOperation({
  summary: 'Read a WABA',
  example: { params: { wabaId: exampleWabaId }, answer: ok(wabaExample) },
  params: z.strictObject(pathWaba),
  response: { 200: wabaBody },
  async handle({ deps, workspaceId, params }) {
    const waba = found(await findWaba(deps.database, workspaceId, params.wabaId), 'WABA')
    return ok(wabaBodyOf(waba, workspaceId, deps))
  },
})

export const update = workspaceOperation({
  summary: 'Change a WABA',
  description:
    'Members that are left out stay as they are, null empties. `verification`, `verified` and `workspaceId` are for the operator alone: the last ' +
    'moves the WABA with its app secrets, flow keys, channels and flows; clients, conversations, flow responses and webhooks stay.',
  errors: ['already_exists'],
  example: { params: { wabaId: exampleWabaId }, body: { name: wabaExample.name }, answer: ok(wabaExample) },
  params: z.strictObject(pathWaba),
  body: wabaChanges,
  response: { 200: wabaBody },
  async handle({ deps, caller, workspaceId, params: { wabaId }, body }) {
    if (caller.kind !== 'operator') refuseOperatorMembers(body)
    const changes = changesOf(body, wabaId, workspaceId, deps)
    // What the operator says goes before what a token proves.
    const proof = changes.verified === undefined ? body.accessToken : null
    const to = body.workspaceId as WorkspaceId | undefined
    if (to === undefined || to === workspaceId) {
      const waba = await updateWaba(deps.database, workspaceId, wabaId, changes)
      await deps.configChanged(workspaceId)
      return ok(wabaBodyOf(await verifiedByToken(deps, workspaceId, waba, proof), workspaceId, deps))
    }
    if (!(await findWorkspace(deps.database, to)))
      throw new ApiError('not_found', 'workspaceId: there is no such workspace')
    const reseal = resealerFor(deps, workspaceId, to)
    const waba = await moveWaba(deps.database, { wabaId, from: workspaceId, to, members: changes, reseal })
    // The new one first: a relay keeps what it holds there already when the old one drops it.
    await deps.configChanged(to)
    await deps.configChanged(workspaceId)
    return ok(wabaBodyOf(await verifiedByToken(deps, to, waba, proof), to, deps))
  },
})

function refuseOperatorMembers(body: WabaChanges): void {
  for (const name of ['verification', 'verified', 'workspaceId'] as const) {
    if (body[name] !== undefined) throw new ApiError('forbidden', `${name}: this member is for the operator`)
  }
}

function changesOf(body: WabaChanges, wabaId: string, workspaceId: WorkspaceId, deps: ApiDeps): WabaMembers {
  const { name, requireTokenSignature, verification } = body
  const seal = sealerFor(deps, workspaceId)
  return {
    name,
    requireTokenSignature,
    verified: verification === undefined ? body.verified : verification === 'verified',
    accessTokenSealed: sealMember(seal, 'access_token', wabaId, body.accessToken),
    verifyTokenSealed: sealMember(seal, 'verify_token', wabaId, body.verifyToken),
  }
}

export const remove = workspaceOperation({
  summary: 'Remove a WABA with its app secrets, flow keys, channels and flows',
  description: 'Its id can then be registered again, in whichever workspace. What was exchanged stays in the log.',
  example: { params: { wabaId: exampleWabaId }, answer: noContent() },
  params: z.strictObject(pathWaba),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await deleteWaba(deps.database, workspaceId, params.wabaId)
    await deps.configChanged(workspaceId)
    return noContent()
  },
})
