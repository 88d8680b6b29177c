import type { Client, Conversation } from './envelope.ts'
import type { Flow } from './flow.ts'
import type { FlowResponse } from './flow-response.ts'
import type { WorkspaceId } from './ids.ts'

/** The records of nobody: for examples of events, and for samples that webhooks are tested with. */

export const exampleUuid = '0196a0b0-5c00-7000-8000-0000000000e1'
export const exampleWorkspaceId = 'ws_06cvh7k2m9p4r1s8t3w6x5y0z2' as WorkspaceId
export const exampleNow = new Date('2026-05-06T19:00:30.000Z')
export const exampleWabaId = '100000000000001'
export const exampleFlowToken = 'offer-2026-05-0001'
const madeAt = new Date('2026-05-06T18:58:00.000Z')

export const exampleClient: Client = {
  id: 'client_06cvh7k2m9p4r1s8t3w6x5y0z2',
  phoneNumber: '+5215555550101',
  name: 'Example Person',
  firstname: 'Example',
  email: 'person@example.com',
  createdAt: madeAt,
  updatedAt: madeAt,
}

export const exampleConversation: Conversation = {
  id: 'conv_06cvh7k2m9p4r1s8t3w6x5y0z2',
  clientId: exampleClient.id,
  channelId: 'ch_06cvh7k2m9p4r1s8t3w6x5y0z2',
  canSendDirectMessage: true,
  contactName: exampleClient.name,
  topic: '',
  platform: 'whatsapp',
  owners: [],
  tags: [],
  status: 'open',
  operation: 'automatic',
  messageCount: 3,
  createdAt: madeAt,
  updatedAt: madeAt,
}

export const exampleFlow: Flow = {
  id: 'flow_06cvh7k2m9p4r1s8t3w6x5y0z2',
  wabaId: exampleWabaId,
  metaFlowId: '300000000000001',
  name: 'Personalised offer',
  status: 'PUBLISHED',
  categories: ['LEAD_GENERATION'],
  dataApiVersion: '3.0',
  endpointUri: `https://relevo.example.com/api/whatsapp/flows/${exampleWabaId}/data`,
  jsonVersion: '7.1',
  screens: null,
  firstScreen: null,
  refuseClosedTokens: null,
  createdAt: madeAt,
  updatedAt: madeAt,
  lastSyncAt: madeAt,
}

export const exampleFlowResponse: FlowResponse = {
  id: 'fr_06cvh7k2m9p4r1s8t3w6x5y0z2',
  flowToken: exampleFlowToken,
  flowId: exampleFlow.id,
  status: 'IN_PROGRESS',
  sentAt: new Date('2026-05-06T18:59:00.000Z'),
  openedAt: new Date('2026-05-06T19:00:00.000Z'),
  lastActivityAt: exampleNow,
  completedAt: null,
  expiresAt: new Date('2026-05-07T18:59:00.000Z'),
  clientId: exampleClient.id,
  conversationId: exampleConversation.id,
  messageId: 'wamid.example',
  campaignId: null,
  agentId: null,
  channelId: exampleConversation.channelId,
}
