import { newId, newUuid } from '../../../src/domain/ids.ts'
import { exchanges } from '../../../src/storage/schema.ts'
import type { Json, TestApi, TestWorkspace } from './api-app.ts'

/** One of each resource, in one workspace. */
export interface Records {
  readonly wabaId: string
  readonly channelId: string
  readonly flowId: string
  readonly webhookId: string
  readonly clientId: string
  readonly conversationId: string
  readonly flowResponseId: string
  readonly exchangeId: string
}

let counted = 0
export const nextNumber = () => String(++counted).padStart(9, '0')
export const nextPhoneNumber = () => `+5215${nextNumber()}`

export async function makeRecords(api: TestApi, workspace: TestWorkspace): Promise<Records> {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const id = async (path: string, body: Json): Promise<string> => (await workspace.make(path, body)).id
  const channelId = await id('/v1/channels', channelInput(wabaId))
  const flowId = await id('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  const webhookId = await id('/v1/webhooks', webhookInput)
  const clientId = await id('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const conversationId = await id('/v1/conversations', { clientId, channelId })
  const flowResponseId = await id('/v1/flow-responses', { flowToken: `token-${nextNumber()}` })
  const exchangeId = await insertExchange(api, workspace, { wabaId })
  return { wabaId, channelId, flowId, webhookId, clientId, conversationId, flowResponseId, exchangeId }
}

export function channelInput(wabaId: string) {
  return { wabaId, phoneNumberId: nextNumber(), phoneNumber: nextPhoneNumber() }
}

export const webhookInput = { name: 'test', url: 'https://tenant.test/', events: ['whatsapp.flows.exchanges'] }

export async function insertExchange(
  api: TestApi,
  workspace: TestWorkspace,
  members: Partial<typeof exchanges.$inferInsert>,
): Promise<string> {
  const id = newUuid()
  const row = { workspaceId: workspace.id, id, createdAt: new Date(), wabaId: '1', ...members }
  await api.database.orm.insert(exchanges).values(row)
  return row.id
}

/** How a route is called: its path's member, a body that fits, and which members of body or query name other records. */
export interface Sample {
  readonly pathId?: (records: Records) => string
  readonly body?: (records: Records) => Json
  readonly named?: Readonly<Record<string, (records: Records) => unknown>>
  /** An id that was never given to anything. */
  readonly nowhere?: () => string
}

const wabaId = (records: Records) => records.wabaId
const flowId = (records: Records) => records.flowId
const channelId = (records: Records) => records.channelId
const clientId = (records: Records) => records.clientId
const conversationId = (records: Records) => records.conversationId
const webhookId = (records: Records) => records.webhookId

export const samples: Readonly<Record<string, Sample>> = {
  'POST /v1/wabas': { body: () => ({ wabaId: nextNumber(), name: 'x', appSecrets: ['a'], accessToken: 't' }) },
  'GET /v1/wabas': {},
  'GET /v1/wabas/:wabaId': { pathId: wabaId, nowhere: nextNumber },
  'POST /v1/channels': { body: (records) => channelInput(records.wabaId), named: { wabaId } },
  'GET /v1/channels': {},
  'GET /v1/channels/:id': { pathId: channelId, nowhere: () => newId('channel') },
  'POST /v1/flows': {
    body: (records) => ({
      wabaId: records.wabaId,
      metaFlowId: nextNumber(),
      name: 'x',
      flowJson: { version: '7.1', screens: [{ id: 'ONE' }] },
      status: 'DRAFT',
      categories: ['OTHER'],
      endpointUri: 'https://x.test/',
      dataApiVersion: '3.0',
      jsonVersion: '7.1',
    }),
    named: { wabaId },
  },
  'GET /v1/flows': {},
  'GET /v1/flows/:id': { pathId: flowId, nowhere: () => newId('flow') },
  'POST /v1/webhooks': {
    body: (records) => ({
      ...webhookInput,
      active: true,
      secret: 'a-signing-secret',
      headers: { authorization: 'Bearer x' },
      flowIds: [records.flowId],
      timeoutMs: 500,
      fallback: { mode: 'stay', errorMessage: 'later' },
      format: 'plain',
      breaker: { mode: 'off' },
    }),
    named: { flowIds: (records) => [records.flowId] },
  },
  'GET /v1/webhooks': {},
  'GET /v1/webhooks/:id': { pathId: webhookId, nowhere: () => newId('webhook') },
  'POST /v1/clients': {
    body: () => ({ phoneNumber: nextPhoneNumber(), name: 'a b', firstname: 'a', email: 'a@b.test' }),
  },
  'GET /v1/clients': {},
  'GET /v1/clients/:id': { pathId: clientId, nowhere: () => newId('client') },
  'POST /v1/conversations': {
    body: (records) => ({
      clientId: records.clientId,
      channelId: records.channelId,
      contactName: 'a',
      topic: 't',
      platform: 'whatsapp',
      owners: ['o'],
      tags: ['t'],
      status: 'open',
      operation: 'manual',
      canSendDirectMessage: false,
      messageCount: 3,
    }),
    named: { clientId, channelId },
  },
  'GET /v1/conversations': {},
  'GET /v1/conversations/:id': { pathId: conversationId, nowhere: () => newId('conversation') },
  'POST /v1/flow-responses': {
    body: (records) => ({
      flowToken: `token-${nextNumber()}`,
      flowId: records.flowId,
      clientId: records.clientId,
      conversationId: records.conversationId,
      channelId: records.channelId,
      messageId: 'wamid.x',
      campaignId: 'c',
      agentId: 'a',
      sentAt: '2026-05-06T18:59:00.000Z',
      expiresAt: '2026-05-07T18:59:00.000+02:00',
    }),
    named: { flowId, clientId, conversationId, channelId },
  },
  'GET /v1/flow-responses': {},
  'GET /v1/flow-responses/:id': {
    pathId: (records) => records.flowResponseId,
    nowhere: () => newId('flowResponse'),
  },
  'GET /v1/exchanges': { named: { flowId, webhookId } },
  'GET /v1/exchanges/:id': { pathId: (records) => records.exchangeId, nowhere: newUuid },
}

/** The same for the operator's routes, where the id is a workspace's. */
export const operatorSamples: Readonly<Record<string, Sample>> = {
  'POST /v1/workspaces': { body: () => ({ name: 'x' }) },
  'GET /v1/workspaces': {},
  'GET /v1/workspaces/:id': {},
  'POST /v1/workspaces/:id/api-keys': { body: () => ({ name: 'x', scopes: ['read'] }) },
  'GET /v1/workspaces/:id/api-keys': {},
}
