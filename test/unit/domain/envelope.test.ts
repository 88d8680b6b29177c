import { describe, expect, it } from 'vitest'
import { buildEnvelope, type EnvelopeParts } from '../../../src/domain/envelope.ts'
import { client, conversation, flow, flowResponse, parts } from './samples.ts'

const nothing = { client: null, conversation: null, flowResponse: null }
const build = (more: Partial<EnvelopeParts> = {}) => JSON.parse(buildEnvelope({ ...parts, ...more }))
const request = (more: Partial<EnvelopeParts['request']>) => ({ ...parts.request, ...more })

/**
 * `reference/platica-flows-webhooks.txt`, member for member, with people of our own and, at the end, our one addition.
 * Compared as text: the order of members is part of the contract.
 */
describe('the documented envelopes', () => {
  it('with everything known', () => {
    expect(buildEnvelope(parts)).toBe(
      JSON.stringify({
        id: '8f2c4d6a-1b3e-4f5d-8a9c-2e7b6d1a3f4e',
        event: 'whatsapp.flows.screen_advance',
        workspaceId: 'ws_456',
        timestamp: '2026-05-06T19:00:30.000Z',
        source: 'whatsapp.flows',
        resourceType: 'flow_response',
        resourceId: 'ZmxvdyQwMQ==',
        changes: null,
        data: {
          client: {
            id: 'client_123',
            phoneNumber: '+10000000001',
            creationDate: '2026-05-01T12:00:00.000Z',
            lastUpdate: '2026-05-06T18:59:00.000Z',
            name: 'Test Person',
            firstname: 'Test',
            email: 'person@tenant.example',
          },
          conversation: {
            id: 'conv_123',
            conversationId: 'conv_123',
            canSendDirectMessage: true,
            workspaceId: 'ws_456',
            channelId: 'channel_wa_123',
            contactName: 'Test Person',
            phoneNumber: '+10000000001',
            topic: '',
            platform: 'whatsapp',
            owners: [],
            tags: [],
            creationDate: '2026-05-06T18:58:00.000Z',
            lastUpdate: '2026-05-06T19:00:00.000Z',
            status: 'open',
            operation: 'automatic',
            messageCount: 3,
          },
          flow: {
            id: 'flow_doc_abc',
            wabaId: '1234567890',
            name: 'Quote flow',
            status: 'PUBLISHED',
            categories: ['LEAD_GENERATION'],
            dataApiVersion: '3.0',
            endpointUri: 'https://relevo.example/api/whatsapp/flows/1234567890/data',
            jsonVersion: '7.1',
            creationDate: '2026-05-01T12:00:00.000Z',
            lastUpdate: '2026-05-06T18:55:00.000Z',
            lastSyncAt: '2026-05-06T18:55:00.000Z',
          },
          flowResponse: {
            flowToken: 'ZmxvdyQwMQ==',
            status: 'IN_PROGRESS',
            sentAt: '2026-05-06T18:59:00.000Z',
            openedAt: '2026-05-06T19:00:00.000Z',
            lastActivityAt: '2026-05-06T19:00:30.000Z',
            completedAt: null,
            expiresAt: '2026-05-07T18:59:00.000Z',
            clientId: 'client_123',
            conversationId: 'conv_123',
            messageId: 'wamid.HBgN...',
            campaignId: null,
            agentId: null,
            channelId: 'channel_wa_123',
          },
          flowExchange: {
            action: 'data_exchange',
            screen: 'WELCOME',
            version: '3.0',
            payload: { selected_product: 'p2', email: 'person@tenant.example' },
            tokenSignature: 'absent',
          },
        },
      }),
    )
  })

  it.each([
    ['init', 'init', null, {}, 'whatsapp.flows.init'],
    ['screen_advance', 'data_exchange', 'WELCOME', { selected_product: 'p2' }, 'whatsapp.flows.screen_advance'],
    ['back', 'back', 'PAYMENT', {}, 'whatsapp.flows.back'],
  ] as const)('with nothing known: %s', (_name, action, screen, payload, event) => {
    const asked = request({ action, screen, payload })
    expect(buildEnvelope({ ...parts, request: asked, flow: null, records: nothing })).toBe(
      JSON.stringify({
        id: parts.id,
        event,
        workspaceId: 'ws_456',
        timestamp: '2026-05-06T19:00:30.000Z',
        source: 'whatsapp.flows',
        resourceType: 'flow_response',
        resourceId: 'ZmxvdyQwMQ==',
        changes: null,
        data: {
          client: null,
          conversation: null,
          flow: { id: null, wabaId: '1234567890' },
          flowResponse: { flowToken: 'ZmxvdyQwMQ==', status: 'IN_PROGRESS' },
          flowExchange: { action, screen, version: '3.0', payload, tokenSignature: 'absent' },
        },
      }),
    )
  })
})

describe('the flow', () => {
  it('has only the members that are known', () => {
    const unknown = { name: null, status: null, categories: null, dataApiVersion: null, endpointUri: null }
    const bare = flow({ ...unknown, jsonVersion: null, lastSyncAt: null })
    expect(Object.keys(build({ flow: bare }).data.flow)).toEqual(['id', 'wabaId', 'creationDate', 'lastUpdate'])
  })
})

describe('the flow response', () => {
  it('is null without a flow token, and so is the resource id', () => {
    const { resourceId, data } = build({ request: request({ flowToken: null }), records: nothing })
    expect({ resourceId, flowResponse: data.flowResponse }).toEqual({ resourceId: null, flowResponse: null })
  })

  it.each(['unused', 'flows-builder-1a2b3c4d'])('of the shared token %s is the token and IN_PROGRESS', (flowToken) => {
    const { data } = build({ request: request({ flowToken }), records: { ...nothing, flowResponse } })
    expect(data.flowResponse).toEqual({ flowToken, status: 'IN_PROGRESS' })
  })

  it.each(['COMPLETED', 'EXPIRED'] as const)('tells that it is %s', (status) => {
    const completedAt = new Date('2026-05-06T19:00:29.000Z')
    const { data } = build({ records: { ...nothing, flowResponse: { ...flowResponse, status, completedAt } } })
    expect(data.flowResponse).toMatchObject({ status, completedAt: '2026-05-06T19:00:29.000Z' })
  })
})

describe('the conversation', () => {
  it("is called by the client's name where it has none of its own", () => {
    const unnamed = { ...conversation, contactName: null }
    expect(build({ records: { ...nothing, client, conversation: unnamed } }).data.conversation.contactName).toBe(
      'Test Person',
    )
    expect(build({ records: { ...nothing, conversation: unnamed } }).data.conversation).toMatchObject({
      contactName: null,
      phoneNumber: null,
    })
  })
})

describe('the exchange', () => {
  it.each(['verified', 'invalid', 'absent'] as const)('ends with its token signature: %s', (tokenSignature) => {
    const { flowExchange } = build({ tokenSignature }).data
    expect(Object.entries(flowExchange).at(-1)).toEqual(['tokenSignature', tokenSignature])
  })

  it('carries any payload, and hands out no token signature or other secret', () => {
    const payload = { '': null, ñ: '\u2028"\\', deep: [{ a: [1.5, true] }], flow_token: 'theirs' }
    const text = buildEnvelope({ ...parts, request: request({ payload, tokenSignature: 'head.body.mac' }) })
    expect(JSON.parse(text).data.flowExchange.payload).toEqual(payload)
    expect(text).not.toContain('head.body.mac')
  })
})
