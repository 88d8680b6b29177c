import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type FakeGraph, refuse, startGraph } from '../support/graph.ts'
import { bodyOf, entryOf, nfmReply, postEvents } from '../support/meta-webhook.ts'
import {
  type ApiAnswer,
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const accessToken = `EAA${randomBytes(20).toString('hex')}`
const phoneNumber = `+52${1_000_000_000 + randomBytes(3).readUIntBE(0, 3)}`
const metaFlowId = '300000000000001'
const phoneNumberId = '200000000000001'

/** A tenant's first day: key published, flow synced and connected, flow sent, and the phone calls with its token. */
describe('from registration to the first exchange, with Meta on both sides', () => {
  let graph: FakeGraph
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount
  let flowId: string
  const said: string[] = []

  beforeAll(async () => {
    graph = await startGraph()
    tenant = await startTenant()
    relevo = await startRelevo({
      GRAPH_API_URL: graph.url,
      GRAPH_API_VERSION: graph.version,
      PUBLIC_URL: 'https://relevo.test',
      LOG_LEVEL: 'trace',
    })
    account = await createAccount(relevo)
    graph.model.addWaba(account.wabaId, accessToken)
    graph.model.addPhoneNumber(account.wabaId, phoneNumberId)
    const screens = [{ id: 'OFFER' }, { id: 'DONE' }]
    const flowJson = JSON.stringify({ version: '7.1', data_api_version: '3.0', screens })
    graph.model.addFlow(account.wabaId, metaFlowId, { name: 'Offer', data_api_version: '3.0', flowJson })
    await createWebhook(relevo, account, tenant.url)
  })
  afterAll(async () => {
    await relevo.close()
    await tenant.close()
    await graph.close()
  })

  const call = async (method: string, path: string, body?: unknown): Promise<ApiAnswer> => {
    const answer = await relevo.api(method, path, { token: account.token, ...(body === undefined ? {} : { body }) })
    said.push(JSON.stringify(answer.body))
    return answer
  }

  it('verifies the WABA by its token, and subscribes to it', async () => {
    const patched = await call('PATCH', `/v1/wabas/${account.wabaId}`, { accessToken })
    expect(patched.body).toMatchObject({ verification: 'verified', hasAccessToken: true })
    expect((await call('POST', `/v1/wabas/${account.wabaId}/subscribe`)).status).toBe(200)
  })

  it('publishes the flow key for its channel', async () => {
    const channel = { wabaId: account.wabaId, phoneNumberId, phoneNumber: '+5215555550100' }
    await create(relevo, '/v1/channels', channel, account.token)
    const { body: waba } = await call('GET', `/v1/wabas/${account.wabaId}`)
    const { body } = await call('POST', `/v1/wabas/${account.wabaId}/flow-keys/${waba.flowKeys[0].id}/publish`)
    expect(body.channels).toMatchObject([{ phoneNumberId, status: 'VALID' }])
    expect(graph.model.phoneNumbers.get(phoneNumberId)?.publicKey).toBe(account.publicKey)
  })

  it('syncs and connects the flow', async () => {
    expect((await call('POST', '/v1/flows/sync', { wabaId: account.wabaId })).body).toMatchObject({
      created: 1,
      failed: [],
    })
    const { body } = await call('GET', '/v1/flows')
    flowId = body.data[0].id
    expect((await call('POST', `/v1/flows/${flowId}/connect`)).status).toBe(200)
    const path = `/api/whatsapp/flows/${account.wabaId}/${metaFlowId}/data`
    expect(graph.model.flows.get(metaFlowId)?.endpoint_uri).toBe(`https://relevo.test${path}`)
    expect((await call('POST', `/v1/flows/${flowId}/publish`)).body.status).toBe('PUBLISHED')
  })

  it('sends it; the exchange with its token knows flow, client and flow response', async () => {
    const message = { phoneNumber, body: 'An offer', cta: 'Open' }
    const sent = await call('POST', `/v1/flows/${flowId}/messages`, message)
    expect(sent.status).toBe(201)
    const { flow_token } = graph.callsOf('POST /:id/messages')[0]?.body.interactive.action.parameters ?? {}
    expect(flow_token).toBe(sent.body.flowToken)
    tenant.next(reply({ data: { price: 1 } }))
    const { answer } = await account.meta.init(flow_token, { metaFlowId })
    // The first screen is known from the Flow JSON that was synced.
    expect(answer).toEqual({ screen: 'OFFER', data: { price: 1 } })
    const { data } = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '')
    expect(data).toMatchObject({
      client: { phoneNumber },
      flow: { id: flowId, name: 'Offer', status: 'PUBLISHED' },
      flowResponse: { flowToken: flow_token, status: 'IN_PROGRESS', messageId: sent.body.messageId },
    })
    await relevo.exchanges(account, 1)
    const { body } = await call('GET', `/v1/flow-responses/${sent.body.flowResponseId}`)
    expect(body).toMatchObject({ status: 'IN_PROGRESS', sendStatus: 'sent' })
  })

  it('the form comes back from the number that Meta sent it to, which is another than the client’s', async () => {
    const typed = `+5255${phoneNumber.slice(-8)}`
    const atMeta = `521${typed.slice(3)}`
    graph.next('POST /:id/messages', ({ standard, response }) => {
      response
        .writeHead(200)
        .end(JSON.stringify(Object.assign(standard() as object, { contacts: [{ input: typed, wa_id: atMeta }] })))
    })
    const { id: clientId } = await create(relevo, '/v1/clients', { phoneNumber: typed }, account.token)
    const sent = await call('POST', `/v1/flows/${flowId}/messages`, { clientId, body: 'An offer', cta: 'Open' })
    const { flowToken, messageId, flowResponseId } = sent.body
    const stateOf = async () => (await call('GET', `/v1/flow-responses/${flowResponseId}`)).body
    const complete = async (from: string) => {
      const reply = nfmReply({ from, contextId: messageId, response: { flow_token: flowToken, choice: 'p2' } })
      const events = bodyOf(entryOf(account.wabaId, reply))
      expect((await postEvents(relevo, events, account.appSecret)).status).toBe(200)
    }
    await complete('4915550000001')
    expect(await stateOf()).toMatchObject({ status: 'SENT', conversationId: null })
    await complete(atMeta)
    expect(await stateOf()).toMatchObject({ status: 'COMPLETED', clientId, conversationId: null })
    expect(await stateOf()).not.toHaveProperty('metaPhoneNumber')
  })

  it('an exchange that comes before Meta has answered the call finds its flow response', async () => {
    tenant.next(reply({ data: {} }))
    const seen: unknown[] = []
    graph.next('POST /:id/messages', async ({ call: { body }, response, standard }) => {
      const { flow_token } = body.interactive.action.parameters
      await account.meta.init(flow_token, { metaFlowId })
      seen.push(JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '').data)
      await relevo.exchanges(account, 2)
      response.writeHead(200).end(JSON.stringify(standard()))
    })
    const sent = await call('POST', `/v1/flows/${flowId}/messages`, { phoneNumber, body: 'An offer', cta: 'Open' })
    expect(sent.status).toBe(201)
    expect(seen).toMatchObject([{ client: { phoneNumber }, flowResponse: { status: 'IN_PROGRESS', messageId: null } }])
    const { body } = await call('GET', `/v1/flow-responses/${sent.body.flowResponseId}`)
    expect(body).toMatchObject({ status: 'IN_PROGRESS', sendStatus: 'sent', messageId: sent.body.messageId })
  })

  it('never says a token, a phone number or a flow token where it does not belong, however calls end', async () => {
    const message = { phoneNumber, body: 'An offer', cta: 'Open', flowToken: `own-${randomBytes(8).toString('hex')}` }
    graph.next('POST /:id/messages', refuse(131047), refuse(2, { status: 500 }), ({ socket }) => {
      socket.resetAndDestroy()
    })
    for (const status of [422, 502, 502]) {
      expect((await call('POST', `/v1/flows/${flowId}/messages`, message)).status).toBe(status)
    }
    graph.next('POST /:id/subscribed_apps', refuse(190, { status: 401 }))
    expect((await call('POST', `/v1/wabas/${account.wabaId}/subscribe`)).status).toBe(422)
    graph.assertNoSurprises()
    tenant.assertNoSurprises()
    const logs = JSON.stringify(relevo.logs)
    for (const secret of [accessToken, phoneNumber, message.flowToken]) expect(logs).not.toContain(secret)
    expect(said.join()).not.toContain(accessToken)
    expect(said.join()).not.toContain(phoneNumber)
  })
})
