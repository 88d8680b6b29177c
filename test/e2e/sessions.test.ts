import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
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

const dayMs = 24 * 60 * 60 * 1000
const success = { screen: 'SUCCESS', data: { extension_message_response: { params: { flow_token: 'x' } } } }
const back = (flowToken: string) => ({ action: 'BACK', screen: 'A', data: {}, flow_token: flowToken, version: '3.0' })

describe('flow responses', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount

  beforeAll(async () => {
    // A busy machine must not change what is tested here.
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
  })
  afterEach(() => tenant.assertNoSurprises())
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  const post = (path: string, body: object) => create(relevo, path, body, account.token)
  const lastEnvelope = (): Json => JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? 'null')
  const rowsOf = async (flowToken: string): Promise<Json[]> => {
    const path = `/v1/flow-responses?flowToken=${encodeURIComponent(flowToken)}`
    return (await relevo.api('GET', path, { token: account.token })).body.data
  }
  /** The token's row once it says what it should. */
  const rowWith = (flowToken: string, members: object): Promise<Json> =>
    eventually(async () => {
      const rows = await rowsOf(flowToken)
      expect(rows).toEqual([expect.objectContaining(members)])
      return rows[0]
    })

  it.each([
    ['INIT', 'whatsapp.flows.init'],
    ['data_exchange', 'whatsapp.flows.screen_advance'],
    ['BACK', 'whatsapp.flows.back'],
  ])('are made by the first exchange of a token, whatever its action: %s', async (action, event) => {
    const flowToken = `first-${action}`
    await account.meta.call({ ...back(flowToken), action })
    const { timestamp, data, event: sent } = lastEnvelope()
    expect(sent).toBe(event)
    const expiresAt = new Date(Date.parse(timestamp) + dayMs).toISOString()
    const state = {
      status: 'IN_PROGRESS',
      openedAt: timestamp,
      lastActivityAt: timestamp,
      completedAt: null,
      expiresAt,
    }
    // The envelope already counts this exchange.
    expect(data.flowResponse).toMatchObject({ flowToken, sentAt: null, clientId: null, ...state })
    await rowWith(flowToken, { flowToken, sentAt: null, clientId: null, flowId: null, ...state })
  })

  it('that were registered as SENT are opened once and then only move on', async () => {
    const sentAt = '2126-05-06T18:59:00.000Z'
    const registered = await post('/v1/flow-responses', { flowToken: 'sent', sentAt })
    expect(registered).toMatchObject({ status: 'SENT', openedAt: null, expiresAt: '2126-05-07T18:59:00.000Z' })
    await account.meta.init('sent')
    const openedAt = lastEnvelope().timestamp
    await account.meta.exchange('A', {}, 'sent')
    const second = lastEnvelope()
    const state = { status: 'IN_PROGRESS', sentAt, openedAt, lastActivityAt: second.timestamp }
    expect(second.data.flowResponse).toMatchObject(state)
    await rowWith('sent', { id: registered.id, expiresAt: registered.expiresAt, ...state })
  })

  it('are completed by a SUCCESS reply; what comes later moves lastActivityAt only', async () => {
    await account.meta.init('completed')
    tenant.next(reply(success))
    expect((await account.meta.exchange('SUMMARY', {}, 'completed')).answer).toEqual(success)
    // The envelope was sent before the reply came.
    expect(lastEnvelope().data.flowResponse).toMatchObject({ status: 'IN_PROGRESS', completedAt: null })
    const sentAt = Date.parse(lastEnvelope().timestamp)
    const before = await rowWith('completed', { status: 'COMPLETED', completedAt: expect.any(String) })
    expect(Date.parse(before.completedAt)).toBeGreaterThanOrEqual(sentAt)

    await account.meta.call(back('completed'))
    tenant.next(reply(success))
    await account.meta.exchange('SUMMARY', {}, 'completed')
    const { timestamp, data } = lastEnvelope()
    const { completedAt, openedAt, expiresAt } = before
    const after = { status: 'COMPLETED', completedAt, openedAt, expiresAt, lastActivityAt: timestamp }
    expect(data.flowResponse).toMatchObject(after)
    await rowWith('completed', after)
  })

  it('are not completed by a fallback, nor by a SUCCESS that is only the exchange’s own screen', async () => {
    tenant.next(reply({}, 500), reply({ data: {} }))
    await account.meta.exchange('A', {}, 'failed')
    await account.meta.exchange('A', {}, 'failed')
    await rowWith('failed', { status: 'IN_PROGRESS', lastActivityAt: lastEnvelope().timestamp })
  })

  it('past their time are EXPIRED and stay so', async () => {
    await post('/v1/flow-responses', { flowToken: 'expired', expiresAt: '2020-01-01T00:00:00.000Z' })
    await account.meta.init('expired')
    const state = { status: 'EXPIRED', openedAt: null, completedAt: null, expiresAt: '2020-01-01T00:00:00.000Z' }
    expect(lastEnvelope().data.flowResponse).toMatchObject(state)
    tenant.next(reply(success))
    // The tenant decides what an expired token may still do.
    expect((await account.meta.exchange('A', {}, 'expired')).answer).toEqual(success)
    await rowWith('expired', { ...state, lastActivityAt: lastEnvelope().timestamp })
  })

  it('that are final do not learn their flow', async () => {
    const other = await createAccount(relevo)
    await createWebhook(relevo, other, tenant.url)
    const body = { flowToken: 'over', expiresAt: '2020-01-01T00:00:00.000Z' }
    const { id } = await create(relevo, '/v1/flow-responses', body, other.token)
    const row = async () => (await relevo.api('GET', `/v1/flow-responses/${id}`, { token: other.token })).body
    await other.meta.init('over')
    await eventually(async () => (await row()).status === 'EXPIRED')
    await create(relevo, '/v1/flows', { wabaId: other.wabaId, metaFlowId: '700', name: 'Late' }, other.token)
    await other.meta.call({ ...back('over'), action: 'INIT' }, { metaFlowId: '700' })
    const { timestamp } = lastEnvelope()
    await eventually(async () => (await row()).lastActivityAt === timestamp)
    expect(await row()).toMatchObject({ status: 'EXPIRED', flowId: null })
  })

  it.each(['unused', 'flows-builder-', 'flows-builder-1a2b3c4d'])('are never made for %s', async (flowToken) => {
    tenant.next(reply({ screen: 'A', data: {} }), reply(success), reply({ screen: 'A', data: {} }))
    await account.meta.init(flowToken)
    await account.meta.exchange('A', {}, flowToken)
    await account.meta.init(flowToken)
    const { resourceId, data } = lastEnvelope()
    expect(resourceId).toBe(flowToken)
    expect(data).toMatchObject({ client: null, conversation: null })
    expect(data.flowResponse).toEqual({ flowToken, status: 'IN_PROGRESS' })
    await account.meta.init(`after-${flowToken}`)
    await rowWith(`after-${flowToken}`, {})
    expect(await rowsOf(flowToken)).toEqual([])
  })

  it.each(['Unused', 'unused2', 'flows-builder', 'xflows-builder-1'])(
    'are made for %s as for any',
    async (flowToken) => {
      await account.meta.init(flowToken)
      await rowWith(flowToken, { status: 'IN_PROGRESS' })
    },
  )

  it('are null without a token', async () => {
    await account.meta.init(null)
    expect(lastEnvelope()).toMatchObject({ resourceId: null, data: { flowResponse: null, client: null } })
  })

  it('bring their client and conversation along', async () => {
    const client = await post('/v1/clients', { phoneNumber: '+5210000000002', name: 'Test Client' })
    const conversation = await post('/v1/conversations', { clientId: client.id })
    await post('/v1/flow-responses', { flowToken: 'by-id', clientId: client.id, conversationId: conversation.id })
    await account.meta.init('by-id')
    const { data } = lastEnvelope()
    expect(data.client).toMatchObject({ id: client.id, phoneNumber: '+5210000000002', name: 'Test Client' })
    expect(data.conversation).toMatchObject({ id: conversation.id, contactName: 'Test Client', topic: '' })
    expect(data.flowResponse).toMatchObject({ clientId: client.id, conversationId: conversation.id })

    await post('/v1/flow-responses', { flowToken: 'by-phone', phoneNumber: '+5210000000003' })
    await account.meta.init('by-phone')
    expect(lastEnvelope().data).toMatchObject({ client: { phoneNumber: '+5210000000003' }, conversation: null })
    const [row] = await rowsOf('by-phone')
    expect(lastEnvelope().data.client.id).toBe(row.clientId)
  })

  it('that name a conversation alone still tell its phone number', async () => {
    const client = await post('/v1/clients', { phoneNumber: '+5210000000004', name: 'Test Client' })
    const conversation = await post('/v1/conversations', { clientId: client.id })
    await post('/v1/flow-responses', { flowToken: 'thread-only', conversationId: conversation.id })
    await account.meta.init('thread-only')
    const expected = { phoneNumber: '+5210000000004', contactName: 'Test Client' }
    expect(lastEnvelope().data.conversation).toMatchObject(expected)
  })

  it('of another workspace are not seen', async () => {
    const other = await createAccount(relevo)
    await createWebhook(relevo, other, tenant.url)
    await post('/v1/flow-responses', { flowToken: 'both', phoneNumber: '+5210000000005', messageId: 'wamid.mine' })
    await other.meta.init('both')
    expect(lastEnvelope().data).toMatchObject({ client: null, flowResponse: { messageId: null, clientId: null } })
    await account.meta.init('both')
    expect(lastEnvelope().data).toMatchObject({ flowResponse: { messageId: 'wamid.mine' } })
  })

  it('of exchanges in quick succession see each other', async () => {
    for (let round = 0; round < 5; round++) {
      const flowToken = `quick-${round}`
      await account.meta.init(flowToken)
      const first = lastEnvelope()
      tenant.next(reply(success))
      await account.meta.exchange('A', {}, flowToken)
      expect(lastEnvelope().data.flowResponse.openedAt).toBe(first.timestamp)
      await account.meta.call(back(flowToken))
      expect(lastEnvelope().data.flowResponse).toMatchObject({ status: 'COMPLETED', openedAt: first.timestamp })
    }
  })

  it('of a first tap that came twice at the same moment are one', async () => {
    await Promise.all([account.meta.init('twins'), account.meta.init('twins')])
    await account.meta.init('twins')
    const row = await rowWith('twins', { status: 'IN_PROGRESS', lastActivityAt: lastEnvelope().timestamp })
    expect(lastEnvelope().data.flowResponse.openedAt).toBe(row.openedAt)
  })

  // PostgreSQL's text has no NUL and no half pairs: both are stored as U+FFFD.
  it.each([
    ['newlines', 'a\r\nb', 'a\r\nb'],
    ['an emoji', '🎉', '🎉'],
    ['4,096 characters', 'x'.repeat(4096), 'x'.repeat(4096)],
    ['a NUL', 'nul-\0-end', 'nul-\uFFFD-end'],
    ['half a surrogate pair', 'half-\ud83c', 'half-\uFFFD'],
    ['percent and quotes', `100%'";--`, `100%'";--`],
  ])('are found by a token with %s', async (_name, flowToken, stored) => {
    await account.meta.init(flowToken)
    const first = lastEnvelope()
    await account.meta.exchange('A', {}, flowToken)
    expect(lastEnvelope().data.flowResponse).toMatchObject({ flowToken, openedAt: first.timestamp })
    await rowWith(stored, { flowToken: stored, status: 'IN_PROGRESS' })
    const path = `/v1/exchanges?flowToken=${encodeURIComponent(stored)}`
    await eventually(async () => (await relevo.api('GET', path, { token: account.token })).body.data.length === 2)
  })
})
