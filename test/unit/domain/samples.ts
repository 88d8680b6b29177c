import type { Client, Conversation, EnvelopeParts } from '../../../src/domain/envelope.ts'
import type { Flow } from '../../../src/domain/flow.ts'
import type { FlowResponse } from '../../../src/domain/flow-response.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'

export const workspaceId = 'ws_456' as WorkspaceId

export const flow = (more: Partial<Flow> = {}): Flow => ({
  id: 'flow_doc_abc',
  wabaId: '1234567890',
  metaFlowId: '777',
  name: 'Quote flow',
  status: 'PUBLISHED',
  categories: ['LEAD_GENERATION'],
  dataApiVersion: '3.0',
  endpointUri: 'https://relevo.example/api/whatsapp/flows/1234567890/data',
  jsonVersion: '7.1',
  screens: ['WELCOME', 'PAYMENT'],
  firstScreen: 'WELCOME',
  refuseClosedTokens: null,
  createdAt: new Date('2026-05-01T12:00:00.000Z'),
  updatedAt: new Date('2026-05-06T18:55:00.000Z'),
  lastSyncAt: new Date('2026-05-06T18:55:00.000Z'),
  ...more,
})

export const client: Client = {
  id: 'client_123',
  phoneNumber: '+10000000001',
  name: 'Test Person',
  firstname: 'Test',
  email: 'person@tenant.example',
  createdAt: new Date('2026-05-01T12:00:00.000Z'),
  updatedAt: new Date('2026-05-06T18:59:00.000Z'),
}

export const conversation: Conversation = {
  id: 'conv_123',
  clientId: 'client_123',
  channelId: 'channel_wa_123',
  canSendDirectMessage: true,
  contactName: 'Test Person',
  topic: '',
  platform: 'whatsapp',
  owners: [],
  tags: [],
  status: 'open',
  operation: 'automatic',
  messageCount: 3,
  createdAt: new Date('2026-05-06T18:58:00.000Z'),
  updatedAt: new Date('2026-05-06T19:00:00.000Z'),
}

export const flowResponse: FlowResponse = {
  id: 'fr_1',
  flowToken: 'ZmxvdyQwMQ==',
  flowId: 'flow_doc_abc',
  status: 'IN_PROGRESS',
  sentAt: new Date('2026-05-06T18:59:00.000Z'),
  openedAt: new Date('2026-05-06T19:00:00.000Z'),
  lastActivityAt: new Date('2026-05-06T19:00:30.000Z'),
  completedAt: null,
  expiresAt: new Date('2026-05-07T18:59:00.000Z'),
  clientId: 'client_123',
  conversationId: 'conv_123',
  messageId: 'wamid.HBgN...',
  campaignId: null,
  agentId: null,
  channelId: 'channel_wa_123',
}

/** The second step of a quote, with everything known. */
export const parts: EnvelopeParts = {
  id: '8f2c4d6a-1b3e-4f5d-8a9c-2e7b6d1a3f4e',
  workspaceId,
  wabaId: '1234567890',
  now: new Date('2026-05-06T19:00:30.000Z'),
  request: {
    kind: 'exchange',
    action: 'data_exchange',
    screen: 'WELCOME',
    flowToken: 'ZmxvdyQwMQ==',
    version: '3.0',
    payload: { selected_product: 'p2', email: 'person@tenant.example' },
    tokenSignature: undefined,
  },
  flow: flow(),
  records: { client, conversation, flowResponse },
  tokenSignature: 'absent',
}
