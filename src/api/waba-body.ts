import { z } from 'zod'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Waba } from '../storage/wabas.ts'
import { exampleId, exampleTime, exampleTimes, exampleWabaId } from './example.ts'
import { iso, isoTime } from './fields.ts'
import { flowKeyBody, flowKeyExample } from './flow-keys.ts'
import type { ApiDeps } from './operation.ts'

export const verifications = ['verified', 'unverified'] as const

export const wabaBody = z.object({
  wabaId: z.string(),
  workspaceId: z.string(),
  name: z.string().nullable(),
  endpointUri: z.string(),
  publicKey: z.string().nullable(),
  verification: z.enum(verifications),
  verified: z.boolean().describe('the same as `verification`'),
  requireTokenSignature: z.boolean(),
  hasAccessToken: z.boolean(),
  hasVerifyToken: z.boolean(),
  appSecrets: z.array(z.object({ id: z.string(), createdAt: isoTime })),
  flowKeys: z.array(flowKeyBody.omit({ publicKey: true, updatedAt: true })),
  createdAt: isoTime,
  updatedAt: isoTime,
})

export const wabaExampleInput = {
  wabaId: exampleWabaId,
  name: 'Example Shop',
  appSecrets: ['an-example-app-secret'],
  accessToken: 'an-example-access-token',
}
const { updatedAt: _updatedAt, publicKey: examplePublicKey, ...exampleFlowKey } = flowKeyExample
export const wabaExample = {
  wabaId: exampleWabaId,
  workspaceId: exampleId('workspace'),
  name: wabaExampleInput.name,
  endpointUri: `https://relevo.example.com/api/whatsapp/flows/${exampleWabaId}/data`,
  publicKey: examplePublicKey,
  verification: 'verified' as const,
  verified: true,
  requireTokenSignature: false,
  hasAccessToken: true,
  hasVerifyToken: false,
  appSecrets: [{ id: exampleId('appSecret'), createdAt: exampleTime }],
  flowKeys: [exampleFlowKey],
  ...exampleTimes,
}

export function wabaBodyOf(waba: Waba, workspaceId: WorkspaceId, deps: ApiDeps): z.input<typeof wabaBody> {
  const { verified, appSecrets, flowKeys, createdAt, updatedAt, ...rest } = waba
  return {
    ...rest,
    workspaceId,
    endpointUri: `${deps.publicUrl()}/api/whatsapp/flows/${waba.wabaId}/data`,
    publicKey: flowKeys.find((flowKey) => flowKey.status === 'active')?.publicKey ?? null,
    verification: verified ? 'verified' : 'unverified',
    verified,
    appSecrets: appSecrets.map((secret) => ({ id: secret.id, createdAt: iso(secret.createdAt) })),
    flowKeys: flowKeys.map((flowKey) => ({ ...flowKey, createdAt: iso(flowKey.createdAt) })),
    createdAt: iso(createdAt),
    updatedAt: iso(updatedAt),
  }
}
