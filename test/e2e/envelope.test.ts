import { createHmac } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests look into envelopes and resources of many shapes
type Json = any

const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const formPayload = { selected_product: 'p2', email: 'test@example.com' }
const backOn = (screen: string, flowToken: string) => {
  return { data: {}, flow_token: flowToken, screen, action: 'BACK', version: '3.0' }
}

// reference/platica-flows-webhooks.txt, "Payload received": names in their order.
const words = (text: string) => text.split(' ')
const head = words('id event workspaceId timestamp source resourceType resourceId changes data')
const everythingKnown = {
  client: words('id phoneNumber creationDate lastUpdate name firstname email'),
  conversation: [
    ...words('id conversationId canSendDirectMessage workspaceId channelId contactName phoneNumber topic platform'),
    ...words('owners tags creationDate lastUpdate status operation messageCount'),
  ],
  flow: [
    ...words('id wabaId name status categories dataApiVersion endpointUri jsonVersion'),
    ...words('creationDate lastUpdate lastSyncAt'),
  ],
  flowResponse: [
    ...words('flowToken status sentAt openedAt lastActivityAt completedAt expiresAt clientId conversationId'),
    ...words('messageId campaignId agentId channelId'),
  ],
}
/** The examples of each event, further down the same page. */
const nothingKnown = { client: [], conversation: [], flow: ['id', 'wabaId'], flowResponse: ['flowToken', 'status'] }

/** Every member by its dotted path, in the order in which it is written. */
function memberOrder(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  return Object.entries(value).flatMap(([name, member]) => [path + name, ...memberOrder(member, `${path}${name}.`)])
}

function referenceOrder(known: Record<string, string[]>, payload: object): string[] {
  const records = Object.entries(known).flatMap(([name, members]) => [
    name,
    ...members.map((each) => `${name}.${each}`),
  ])
  const exchange = ['action', 'screen', 'version', 'payload', ...Object.keys(payload).map((name) => `payload.${name}`)]
  // tokenSignature is ours and so comes last: contract.md §4.
  const ours = [...exchange, 'tokenSignature'].map((member) => `flowExchange.${member}`)
  return [...head, ...[...records, 'flowExchange', ...ours].map((path) => `data.${path}`)]
}

describe('the envelope of an exchange', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount
  let registered: Registered

  beforeAll(async () => {
    // A busy machine must not change what is tested here.
    const patience = { DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' }
    relevo = await startRelevo({ META_APP_SECRETS: 'platform-app-secret', ...patience })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    account = await createAccount(relevo)
    registered = await register(relevo, account)
    await createWebhook(relevo, account, tenant.url)
  })
  afterEach(() => tenant.assertNoSurprises())
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  const lastEnvelope = (): Json => JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? 'null')

  const events = [
    ['whatsapp.flows.init', 'init', null, {}, (of: TestAccount, token: string) => of.meta.init(token)],
    [
      'whatsapp.flows.screen_advance',
      'data_exchange',
      'WELCOME',
      formPayload,
      (of: TestAccount, token: string) => of.meta.exchange('WELCOME', formPayload, token),
    ],
    [
      'whatsapp.flows.back',
      'back',
      'PAYMENT',
      {},
      (of: TestAccount, token: string) => of.meta.call(backOn('PAYMENT', token)),
    ],
  ] as const

  it.each(events)('%s, everything known: the reference’s, member for member', async (...args) => {
    const [event, action, screen, payload, call] = args
    await call(account, 'known-token')
    const envelope = lastEnvelope()
    expect(memberOrder(envelope)).toEqual(referenceOrder(everythingKnown, payload))
    expect(envelope).toEqual({
      id: expect.stringMatching(uuidV7),
      event,
      workspaceId: account.workspaceId,
      timestamp: expect.stringMatching(iso),
      source: 'whatsapp.flows',
      resourceType: 'flow_response',
      resourceId: 'known-token',
      changes: null,
      data: {
        ...knownRecords(account, registered, envelope.timestamp),
        flowExchange: { action, screen, version: '3.0', payload, tokenSignature: 'absent' },
      },
    })
  })

  it.each(events)('%s, nothing known: the reference’s, member for member', async (...args) => {
    const [, action, screen, payload, call] = args
    const stranger = await createAccount(relevo)
    await createWebhook(relevo, stranger, tenant.url)
    await call(stranger, 'unused')
    const envelope = lastEnvelope()
    expect(memberOrder(envelope)).toEqual(referenceOrder(nothingKnown, payload))
    expect(envelope.data).toEqual({
      client: null,
      conversation: null,
      flow: { id: null, wabaId: stranger.wabaId },
      flowResponse: { flowToken: 'unused', status: 'IN_PROGRESS' },
      flowExchange: { action, screen, version: '3.0', payload, tokenSignature: 'absent' },
    })
  })

  const withNames = JSON.parse('{"__proto__":{"a":1},"constructor":"c","toString":null}')
  const unicode = { nombre: 'José 李 🎉 \u0000 \u2028', '🔑': ['ü'] }
  const leniences: [string, object, object][] = [
    ['screen ""', { screen: '' }, { screen: null }],
    ['screen null', { screen: null }, { screen: null }],
    ['no screen', { screen: undefined }, { screen: null }],
    ['a screen of another type', { screen: 7 }, { screen: null }],
    ['data null', { data: null }, { payload: {} }],
    ['no data', { data: undefined }, { payload: {} }],
    ['data an array', { data: [1] }, { payload: {} }],
    ['a version number', { version: 4 }, { version: '4' }],
    ['no version', { version: undefined }, { version: null }],
    ['version ""', { version: '' }, { version: null }],
    ['unicode', { screen: 'PANTALLA_Ñ', data: unicode }, { screen: 'PANTALLA_Ñ', payload: unicode }],
    ['members named as JavaScript’s own', { data: withNames }, { payload: withNames }],
  ]
  it.each(leniences)('reads %s', async (_name, sent, expected) => {
    const usual = { action: 'data_exchange', screen: 'A', version: '3.0', flow_token: 'odd', data: {} }
    await account.meta.call({ ...usual, ...sent })
    expect(lastEnvelope().data.flowExchange).toMatchObject(expected)
  })

  it.each([undefined, null, ''])('tells the token %j as null', async (flow_token) => {
    await account.meta.call({ action: 'INIT', flow_token })
    expect(lastEnvelope()).toMatchObject({ resourceId: null, data: { flowResponse: null } })
  })

  const claims = { flow_token: 'signed-token', iat: 1_700_000_000 }
  const tokenSignatures: [string, string, () => unknown][] = [
    ['verified', 'under the WABA’s app secret', () => jwt(account.appSecret, claims)],
    ['verified', 'under a platform app secret', () => jwt('platform-app-secret', claims)],
    ['invalid', 'under another secret', () => jwt('another', claims)],
    ['invalid', 'for another token', () => jwt(account.appSecret, { flow_token: 'other' })],
    ['invalid', 'with alg none', () => jwt(account.appSecret, claims, 'none')],
    ['invalid', 'that is no JWT', () => 'x'],
    ['invalid', 'of another type', () => 7],
    ['absent', 'null', () => null],
    ['absent', 'left out', () => undefined],
  ]
  it.each(tokenSignatures)('tokenSignature %s: %s', async (expected, _name, signature) => {
    const body = { action: 'INIT', flow_token: 'signed-token', version: '4.0', flow_token_signature: signature() }
    await account.meta.call(body)
    expect(lastEnvelope().data.flowExchange.tokenSignature).toBe(expected)
  })

  it('is kept as it was sent, with reply, attempt and timings', async () => {
    const own = await createAccount(relevo)
    const webhook = await createWebhook(relevo, own, tenant.url)
    const answered = { screen: 'NEXT', data: { n: 1 } }
    tenant.next(reply(answered))
    await own.meta.exchange('FORM', formPayload, 'kept-token')
    const sent = lastEnvelope()
    const [row] = await relevo.exchanges(own, 1)
    const { status, body } = await relevo.api('GET', `/v1/exchanges/${sent.id}`, { token: own.token })
    expect(status).toBe(200)
    expect(row).toMatchObject({ id: sent.id, createdAt: sent.timestamp, event: sent.event, screen: 'FORM' })
    expect(row).toMatchObject({ outcome: 'replied', flowToken: 'kept-token', flowId: null, webhookId: webhook.id })
    expect(body).toMatchObject({ ...row, action: 'data_exchange', wabaId: own.wabaId, reply: answered })
    expect(body.attempt).toMatchObject({ status: 200, failure: null, durationMs: row.webhookMs })
    expect(body.attempt.bytes).toBe(JSON.stringify(answered).length)
    expect(body.envelope).toEqual(sent)
    expect(memberOrder(body.envelope)).toEqual(memberOrder(sent))
    expect(Object.keys(body.timings)).toEqual(['verify', 'decrypt', 'enrich', 'webhook', 'encrypt', 'total'])
    for (const ms of Object.values(body.timings)) expect(ms).toBeGreaterThanOrEqual(0)
    expect(body.timings.total).toBe(body.durationMs)
    expect(body.timings.webhook).toBeLessThan(body.timings.total)
  })
})

type Registered = Readonly<Record<'channel' | 'client' | 'conversation' | 'flow', Json>>

/** A flow token of which all is known. */
async function register(relevo: TestRelevo, { token, wabaId, endpointUri }: TestAccount): Promise<Registered> {
  const post = (path: string, body: object) => create(relevo, path, body, token)
  const person = { phoneNumber: '+5210000000001', name: 'Test Pérez', firstname: 'Test', email: 'a@example.com' }
  const client = await post('/v1/clients', person)
  const channel = await post('/v1/channels', { wabaId, phoneNumberId: '1001', phoneNumber: '+5210000000099' })
  const thread = { contactName: 'Test Contact', topic: 'Quote', messageCount: 3, owners: ['agent-1'], tags: ['vip'] }
  const links = { clientId: client.id, channelId: channel.id, canSendDirectMessage: false }
  const conversation = await post('/v1/conversations', { ...thread, ...links })
  const versions = { dataApiVersion: '3.0', jsonVersion: '7.1', endpointUri }
  const named = { name: 'Quote flow', status: 'PUBLISHED', categories: ['LEAD_GENERATION'] }
  const flow = await post('/v1/flows', { wabaId, metaFlowId: '5001', ...named, ...versions })
  await post('/v1/flow-responses', {
    flowToken: 'known-token',
    flowId: flow.id,
    phoneNumber: client.phoneNumber,
    conversationId: conversation.id,
    channelId: channel.id,
    messageId: 'wamid.test',
    campaignId: 'campaign-1',
    agentId: 'agent-1',
    sentAt: '2026-05-06T18:59:00.000Z',
    expiresAt: '2126-05-07T18:59:00.000Z',
  })
  // Only a sync with Meta sets this. Whatever the API changes next makes the relay read it.
  const sql = postgres(relevo.database.url, { max: 1 })
  await sql`update flows set last_sync_at = '2026-05-06T18:55:00Z' where id = ${flow.id}`
  await sql.end()
  return { channel, client, conversation, flow }
}

function knownRecords(account: TestAccount, { channel, client, conversation, flow }: Registered, at: string): object {
  return {
    client: {
      id: client.id,
      phoneNumber: '+5210000000001',
      creationDate: client.createdAt,
      lastUpdate: client.updatedAt,
      name: 'Test Pérez',
      firstname: 'Test',
      email: 'a@example.com',
    },
    conversation: {
      id: conversation.id,
      conversationId: conversation.id,
      canSendDirectMessage: false,
      workspaceId: account.workspaceId,
      channelId: channel.id,
      contactName: 'Test Contact',
      phoneNumber: '+5210000000001',
      topic: 'Quote',
      platform: 'whatsapp',
      owners: ['agent-1'],
      tags: ['vip'],
      creationDate: conversation.createdAt,
      lastUpdate: conversation.updatedAt,
      status: 'open',
      operation: 'automatic',
      messageCount: 3,
    },
    flow: {
      id: flow.id,
      wabaId: account.wabaId,
      name: 'Quote flow',
      status: 'PUBLISHED',
      categories: ['LEAD_GENERATION'],
      dataApiVersion: '3.0',
      endpointUri: account.endpointUri,
      jsonVersion: '7.1',
      creationDate: flow.createdAt,
      lastUpdate: flow.updatedAt,
      lastSyncAt: '2026-05-06T18:55:00.000Z',
    },
    flowResponse: {
      flowToken: 'known-token',
      status: 'IN_PROGRESS',
      sentAt: '2026-05-06T18:59:00.000Z',
      openedAt: expect.stringMatching(iso),
      lastActivityAt: at,
      completedAt: null,
      expiresAt: '2126-05-07T18:59:00.000Z',
      clientId: client.id,
      conversationId: conversation.id,
      messageId: 'wamid.test',
      campaignId: 'campaign-1',
      agentId: 'agent-1',
      channelId: channel.id,
    },
  }
}

/** A compact JWT as Meta's flow_token_signature: protocol.md 2.4. */
function jwt(appSecret: string, claims: object, alg = 'HS256'): string {
  const segment = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const signed = `${segment({ alg, typ: 'JWT' })}.${segment(claims)}`
  return `${signed}.${createHmac('sha256', appSecret).update(signed).digest('base64url')}`
}
