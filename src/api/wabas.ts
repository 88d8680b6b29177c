import { z } from 'zod'
import {
  exportPrivateKey,
  FlowKeyUnreadable,
  generatePrivateKey,
  publicKeyFingerprint,
  publicKeyPem,
  readPrivateKey,
} from '../crypto/flow-key.ts'
import { type SecretPlace, sealSecret } from '../crypto/sealed-secret.ts'
import { invalidInput } from '../domain/errors.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { findWaba, insertWaba, listWabas, type Waba, type WabaPage } from '../storage/wabas.ts'
import type { Page } from '../storage/workspaces.ts'
import { found } from './existence.ts'
import { iso, isoTime, metaId, possiblyEmptyText, text, wabaIdPattern } from './fields.ts'
import { listOf, pageMembers, pageOf } from './list.ts'
import { type ApiDeps, created, ok, workspaceOperation } from './operation.ts'

const wabaInput = z.strictObject({
  wabaId: metaId,
  name: text(200).nullish(),
  appSecrets: z.array(text(255)).max(20).default([]),
  accessToken: text(4096).nullish(),
  /** PKCS#1 or PKCS#8 PEM, encrypted or not. */
  privateKey: text(20_000).optional(),
  passphrase: possiblyEmptyText(1024).optional(),
})

export const flowKeyBody = z.object({
  id: z.string(),
  fingerprint: z.string(),
  status: z.enum(['active', 'retired']),
  createdAt: isoTime,
})

const wabaBody = z.object({
  wabaId: z.string(),
  name: z.string().nullable(),
  endpointUri: z.string(),
  publicKey: z.string().nullable(),
  verification: z.enum(['verified', 'unverified']),
  hasAccessToken: z.boolean(),
  appSecrets: z.array(z.object({ id: z.string(), createdAt: isoTime })),
  flowKeys: z.array(flowKeyBody),
  createdAt: isoTime,
  updatedAt: isoTime,
})

function bodyOf(waba: Waba, deps: ApiDeps): z.input<typeof wabaBody> {
  return {
    wabaId: waba.wabaId,
    name: waba.name,
    endpointUri: `${deps.publicUrl()}/api/whatsapp/flows/${waba.wabaId}/data`,
    publicKey: waba.flowKeys.find((flowKey) => flowKey.status === 'active')?.publicKey ?? null,
    verification: waba.verified ? 'verified' : 'unverified',
    hasAccessToken: waba.hasAccessToken,
    appSecrets: waba.appSecrets.map(({ id, createdAt }) => ({ id, createdAt: iso(createdAt) })),
    flowKeys: waba.flowKeys.map(({ id, fingerprint, status, createdAt }) => {
      return { id, fingerprint, status, createdAt: iso(createdAt) }
    }),
    createdAt: iso(waba.createdAt),
    updatedAt: iso(waba.updatedAt),
  }
}

type FlowKey = ReturnType<typeof readPrivateKey>

/** The key that was given, or null where one is to be made. */
function givenFlowKey({ privateKey, passphrase }: z.output<typeof wabaInput>): FlowKey | null {
  if (privateKey === undefined) {
    if (passphrase !== undefined) throw invalidInput('passphrase', 'is of no use without privateKey')
    return null
  }
  try {
    return readPrivateKey(privateKey, passphrase)
  } catch (error) {
    if (error instanceof FlowKeyUnreadable) throw invalidInput('privateKey', error.message)
    throw error
  }
}

export const create = workspaceOperation({
  body: wabaInput,
  response: { 201: wabaBody },
  check: givenFlowKey,
  async handle({ deps, caller, workspaceId, body, checked }) {
    const flowKey = checked ?? (await generatePrivateKey())
    const { wabaId, name = null, accessToken } = body
    const seal = sealerFor(deps, workspaceId)
    const waba = await insertWaba(deps.database, workspaceId, {
      wabaId,
      name,
      // Only the operator's word proves that a workspace owns a WABA: contract.md §6.
      verified: caller.kind === 'operator',
      accessTokenSealed: accessToken ? seal('access_token', wabaId, accessToken) : null,
      appSecrets: [...new Set(body.appSecrets)].map((appSecret) => {
        const id = newId('appSecret')
        return { id, appSecretSealed: seal('app_secret', id, appSecret) }
      }),
      flowKey: flowKeyRow(flowKey, seal),
    })
    await deps.configChanged(workspaceId)
    return created(bodyOf(waba, deps))
  },
})

type Seal = (purpose: SecretPlace['purpose'], rowId: string, plain: string | Uint8Array) => Buffer

function sealerFor(deps: ApiDeps, workspaceId: WorkspaceId): Seal {
  return (purpose, rowId, plain) => sealSecret(plain, { purpose, workspaceId, rowId }, deps.masterKeys)
}

function flowKeyRow(flowKey: FlowKey, seal: Seal) {
  const id = newId('flowKey')
  return {
    id,
    privateKeySealed: seal('flow_key', id, exportPrivateKey(flowKey)),
    publicKey: publicKeyPem(flowKey),
    fingerprint: publicKeyFingerprint(flowKey),
  }
}

const position = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\/([0-9A-Za-z_-]{1,64})$/

function positionOf(waba: Waba): string {
  return `${iso(waba.createdAt)}/${waba.wabaId}`
}

function readPosition(cursor: string | null): WabaPage['before'] {
  const [, createdAt, wabaId] = position.exec(cursor ?? '') ?? []
  return createdAt && wabaId ? { createdAt: new Date(createdAt), wabaId } : null
}

export const list = workspaceOperation({
  query: z.strictObject(pageMembers(position)),
  response: { 200: listOf(wabaBody) },
  async handle({ deps, workspaceId, query }) {
    const load = ({ limit, before }: Page) =>
      listWabas(deps.database, workspaceId, { limit, before: readPosition(before) })
    return ok(await pageOf(query, load, positionOf, (waba) => bodyOf(waba, deps)))
  },
})

export const get = workspaceOperation({
  params: z.strictObject({ wabaId: z.string().regex(wabaIdPattern) }),
  response: { 200: wabaBody },
  async handle({ deps, workspaceId, params }) {
    const waba = found(await findWaba(deps.database, workspaceId, params.wabaId), 'WABA')
    return ok(bodyOf(waba, deps))
  },
})
