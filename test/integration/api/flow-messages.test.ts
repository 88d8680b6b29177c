import { describe, expect, test } from 'vitest'
import { newId } from '../../../src/domain/ids.ts'
import { answerWith, refuse } from '../../support/graph.ts'
import type { Json } from './api-app.ts'
import { apiWithGraph } from './graph-api.ts'
import { nextNumber, nextPhoneNumber } from './samples.ts'

const under = apiWithGraph()
const route = 'POST /:id/messages'
const message = { body: 'An offer', cta: 'Open' }

/** A flow that can be sent: its WABA has a token and a channel. */
async function sendable(flowMembers: Json = {}) {
  const waba = await under.makeWaba()
  const channel = await under.makeChannel(waba.wabaId)
  const flow = await under.makeFlow(waba.wabaId, flowMembers)
  const send = (body: Json) => under.send('POST', `/v1/flows/${flow.id}/messages`, body)
  return { ...waba, channel, flow, send }
}

const flowResponse = async (id: string) => (await under.workspace.get(`/v1/flow-responses/${id}`)).body
const rowOf = async (id: string) => (await under.api.database.sql`select * from flow_responses where id = ${id}`)[0]
const sent = () => under.fake.callsOf(route).map((call) => call.body)
const parametersSent = () => sent().map((body) => body.interactive.action.parameters)

describe('a message that Meta takes', () => {
  test('has a flow token that nobody guesses, and a flow response that knows whose it is', async () => {
    const { flow, channel, accessToken, send } = await sendable()
    const phoneNumber = nextPhoneNumber()
    const startedAt = Date.now()
    const answer = await send({ ...message, phoneNumber })
    expect([answer.status, answer.text]).toEqual([201, expect.any(String)])
    expect(answer.body).toEqual({
      flowToken: expect.stringMatching(/^[0-9A-Za-z]{43}$/),
      messageId: expect.stringMatching(/^wamid\./),
      flowResponseId: expect.stringMatching(/^fr_/),
      status: 'SENT',
    })
    const { flowToken, messageId, flowResponseId } = answer.body
    const stored = await flowResponse(flowResponseId)
    expect(stored).toMatchObject({
      flowToken,
      messageId,
      status: 'SENT',
      sendStatus: 'sent',
      flowId: flow.id,
      channelId: channel.id,
      clientId: expect.stringMatching(/^client_/),
      openedAt: null,
    })
    const sentAtMs = Date.parse(stored.sentAt)
    expect(sentAtMs).toBeGreaterThanOrEqual(startedAt)
    expect(Date.parse(stored.expiresAt) - sentAtMs).toBe(24 * 60 * 60 * 1000)
    expect((await under.workspace.get(`/v1/clients/${stored.clientId}`)).body.phoneNumber).toBe(phoneNumber)
    const [call] = under.fake.callsOf(route)
    expect(call).toMatchObject({ path: `/${channel.phoneNumberId}/messages`, accessToken })
    expect(call?.body.to).toBe(phoneNumber)
    expect(parametersSent()).toMatchObject([{ flow_id: flow.metaFlowId, flow_token: flowToken, mode: 'published' }])
  })

  test('carries the links that it is given, to a client by id', async () => {
    const { channel, send } = await sendable()
    const phoneNumber = nextPhoneNumber()
    const { id: clientId } = await under.workspace.make('/v1/clients', { phoneNumber })
    const { id: conversationId } = await under.workspace.make('/v1/conversations', { clientId })
    const links = { clientId, conversationId, channelId: channel.id, campaignId: 'c', agentId: 'a' }
    const own = { flowToken: `own-${nextNumber()}`, expiresAt: '2030-01-02T03:04:05.000Z' }
    const { status, body } = await send({ ...message, ...links, ...own })
    expect(status).toBe(201)
    expect(body.flowToken).toBe(own.flowToken)
    expect(await flowResponse(body.flowResponseId)).toMatchObject({ ...links, ...own })
    expect(sent()[0].to).toBe(phoneNumber)
  })

  test('has its row before Meta is called', async () => {
    const { send } = await sendable()
    const flowToken = `own-${nextNumber()}`
    const seen: unknown[] = []
    under.fake.next(route, async ({ response }) => {
      const { body } = await under.workspace.get(`/v1/flow-responses?flowToken=${flowToken}`)
      seen.push(...body.data)
      response.writeHead(200).end('{"messages":[{"id":"wamid.x"}]}')
    })
    expect((await send({ ...message, phoneNumber: nextPhoneNumber(), flowToken })).status).toBe(201)
    expect(seen).toMatchObject([{ flowToken, status: 'SENT', sendStatus: 'sending', messageId: null, sentAt: null }])
    expect(await rowOf((seen[0] as Json).id)).toMatchObject({ send_status: 'sent', message_id: 'wamid.x' })
  })
})

describe('what an interactive message says', () => {
  const to = { phoneNumber: '+5215555550101' }

  test.each([
    ['an endpoint', { endpointUri: 'https://relevo.test/data' }, {}, 'data_exchange'],
    ['a data API version', { dataApiVersion: '3.0' }, {}, 'data_exchange'],
    ['none', {}, {}, 'navigate'],
    ['one, but the message names a screen', { dataApiVersion: '3.0' }, { screen: 'OFFER' }, 'navigate'],
    ['one, but the message has data', { dataApiVersion: '3.0' }, { data: { n: 1 } }, 'navigate'],
    ['one, but the message says so', { dataApiVersion: '3.0' }, { action: 'navigate' }, 'navigate'],
    ['none, but the message says so', {}, { action: 'data_exchange' }, 'data_exchange'],
  ])('where the flow has %s', async (_name, flowMembers, more, action) => {
    const { send } = await sendable(flowMembers)
    expect((await send({ ...message, ...to, ...more })).status).toBe(201)
    expect(parametersSent().map((it) => it.flow_action)).toEqual([action])
  })

  test('header, footer, screen, data and draft', async () => {
    const { send } = await sendable()
    const more = { header: 'H', footer: 'F', screen: 'OFFER', data: { n: [1, 'ñ'] }, mode: 'draft' }
    expect((await send({ ...message, ...to, ...more })).status).toBe(201)
    expect(sent()[0].interactive).toMatchObject({ header: { text: 'H' }, footer: { text: 'F' } })
    const payload = { screen: 'OFFER', data: { n: [1, 'ñ'] } }
    expect(parametersSent()).toMatchObject([{ flow_action_payload: payload, mode: 'draft', flow_cta: 'Open' }])
  })

  test('data goes as a string where Meta refuses the object', async () => {
    const { send } = await sendable()
    under.fake.next(route, refuse(131009))
    expect((await send({ ...message, ...to, data: { n: 1 } })).status).toBe(201)
    expect(parametersSent().map((it) => it.flow_action_payload.data)).toEqual([{ n: 1 }, '{"n":1}'])
  })
})

test('a template message has the flow button, with the flow token', async () => {
  const { send } = await sendable()
  const components = [{ type: 'body', parameters: [{ type: 'text', text: 'Ana' }] }]
  const template = { name: 'offer', language: 'es_MX', components, buttonIndex: 2, flowActionData: { n: 1 } }
  const { status, body } = await send({ type: 'template', phoneNumber: nextPhoneNumber(), template })
  expect(status).toBe(201)
  const action = { flow_token: body.flowToken, flow_action_data: { n: 1 } }
  expect(sent()[0].template).toEqual({
    name: 'offer',
    language: { code: 'es_MX' },
    components: [
      ...components,
      { type: 'button', sub_type: 'flow', index: '2', parameters: [{ type: 'action', action }] },
    ],
  })
  expect(await flowResponse(body.flowResponseId)).toMatchObject({ sendStatus: 'sent' })
})

describe('a message that Meta does not take', () => {
  test.each([
    ['outside the 24 hours', refuse(131047), 422, { metaCode: 131047, retryable: false }],
    ['too fast', refuse(130429, { status: 400 }), 502, { metaCode: 130429, retryable: true }],
    ['with a token that is dead', refuse(190, { status: 401 }), 422, { metaCode: 190, retryable: false }],
    ['while it has a fault of its own', refuse(2, { status: 503 }), 502, { metaCode: 2, retryable: true }],
  ])('%s: the answer says so, the flow response is `failed`', async (_name, behaviour, status, members) => {
    const { send, accessToken } = await sendable()
    const phoneNumber = nextPhoneNumber()
    under.fake.next(route, behaviour)
    const answer = await send({ ...message, phoneNumber })
    expect(answer.status).toBe(status)
    expect(answer.body).toMatchObject({ code: 'graph_error', status, sendStatus: 'failed', ...members })
    expect(await flowResponse(answer.body.flowResponseId)).toMatchObject({
      flowToken: answer.body.flowToken,
      status: 'SENT',
      sendStatus: 'failed',
      sentAt: null,
      messageId: null,
    })
    expect(answer.text).not.toContain(phoneNumber)
    expect(answer.text).not.toContain(accessToken)
    expect(answer.body.detail).not.toContain(answer.body.flowToken)
  })

  test('504 where it does not answer: the flow response is findable as `unknown`', async () => {
    const { send } = await sendable()
    under.fake.next(route, () => undefined)
    const answer = await send({ ...message, phoneNumber: nextPhoneNumber() })
    expect(answer.body).toMatchObject({ status: 504, code: 'graph_timeout', sendStatus: 'unknown', metaCode: null })
    const { flowResponseId, flowToken } = answer.body
    expect(await flowResponse(flowResponseId)).toMatchObject({ flowToken, sendStatus: 'unknown', messageId: null })
    const found = await under.workspace.get(`/v1/flow-responses?flowToken=${flowToken}`)
    expect(found.body.data).toMatchObject([{ id: flowResponseId, sendStatus: 'unknown' }])
  })

  test.each([
    ['hangs up', ({ socket }: { socket: { resetAndDestroy(): void } }) => socket.resetAndDestroy()],
    ['answers without an id', answerWith({ messages: [] })],
    ["answers with a proxy's page", answerWith('<html>', 502)],
  ])('where Meta %s, it may have been sent', async (_name, behaviour) => {
    const { send } = await sendable()
    under.fake.next(route, behaviour)
    const answer = await send({ ...message, phoneNumber: nextPhoneNumber() })
    expect(answer.body).toMatchObject({ status: 502, code: 'graph_unreachable', sendStatus: 'unknown' })
    expect(await flowResponse(answer.body.flowResponseId)).toMatchObject({ sendStatus: 'unknown' })
  })
})

describe('a flow token of their own', () => {
  const again = async (end: Json) => {
    const { send, flow } = await sendable()
    const flowToken = `own-${nextNumber()}`
    const body = { ...message, phoneNumber: nextPhoneNumber(), flowToken }
    const first = await send(body)
    if (end !== null) {
      const { database } = under.api
      await database.sql`update flow_responses set ${database.sql(end)} where id = ${first.body.flowResponseId}`
    }
    return { first, second: await send({ ...body, campaignId: 'again' }), flow }
  }

  test('is not sent twice', async () => {
    const { second } = await again(null)
    expect([second.status, second.body.code]).toEqual([409, 'already_exists'])
    expect(sent()).toHaveLength(1)
  })

  test.each([
    ['failed', { send_status: 'failed' }],
    ['nobody knows', { send_status: 'unknown' }],
    ['its process died', { send_status: 'sending', updated_at: new Date(Date.now() - 61_000) }],
  ])('may be where the first time %s', async (_name, end) => {
    const { first, second } = await again(end)
    expect(second.status).toBe(201)
    expect(second.body.flowResponseId).toBe(first.body.flowResponseId)
    expect(second.body.messageId).not.toBe(first.body.messageId)
    expect(await flowResponse(second.body.flowResponseId)).toMatchObject({ sendStatus: 'sent', campaignId: 'again' })
  })

  test.each([
    ['is under way', { send_status: 'sending', updated_at: new Date() }],
    ['was not ours', { send_status: null }],
    ['was opened all the same', { send_status: 'unknown', status: 'IN_PROGRESS' }],
    ['was for another flow', { send_status: 'failed', flow_id: newId('flow') }],
  ])('may not where the first time %s', async (_name, end) => {
    const { second } = await again(end)
    expect([second.status, second.body.code]).toEqual([409, 'already_exists'])
  })

  test('of two calls at once goes out once', async () => {
    const { send } = await sendable()
    const body = { ...message, phoneNumber: nextPhoneNumber(), flowToken: `own-${nextNumber()}` }
    const both = await Promise.all([send(body), send(body)])
    expect(both.map((answer) => answer.status).sort()).toEqual([201, 409])
    expect(sent()).toHaveLength(1)
  })
})

test('a call whose process died is shown as `unknown` after a minute', async () => {
  const { send } = await sendable()
  const { flowResponseId } = (await send({ ...message, phoneNumber: nextPhoneNumber() })).body
  const leave = (updatedAt: Date) => under.api.database.sql`
    update flow_responses set send_status = 'sending', updated_at = ${updatedAt} where id = ${flowResponseId}`
  await leave(new Date(Date.now() - 50_000))
  expect((await flowResponse(flowResponseId)).sendStatus).toBe('sending')
  await leave(new Date(Date.now() - 61_000))
  expect((await flowResponse(flowResponseId)).sendStatus).toBe('unknown')
})

describe('the channel', () => {
  test('must be named where the WABA has several', async () => {
    const { send, wabaId } = await sendable()
    const second = await under.makeChannel(wabaId)
    const to = { phoneNumber: nextPhoneNumber() }
    const answer = await send({ ...message, ...to })
    expect([answer.status, answer.body.errors]).toEqual([400, [{ path: 'channelId', message: expect.any(String) }]])
    expect((await send({ ...message, ...to, channelId: second.id })).status).toBe(201)
    expect(under.fake.callsOf(route)).toMatchObject([{ path: `/${second.phoneNumberId}/messages` }])
  })

  test("must be one of the flow's WABA", async () => {
    const { send } = await sendable()
    const other = await sendable()
    const answer = await send({ ...message, phoneNumber: nextPhoneNumber(), channelId: other.channel.id })
    expect([answer.status, answer.body.errors[0].path]).toEqual([400, 'channelId'])
  })

  test('409 where there is none, or no access token: nothing is made', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    const flowToken = `own-${nextNumber()}`
    const send = (flowId: string) =>
      under.send('POST', `/v1/flows/${flowId}/messages`, { ...message, phoneNumber: nextPhoneNumber(), flowToken })
    expect((await send(id)).body).toMatchObject({ status: 409, code: 'no_channels' })
    const bare = await under.workspace.make('/v1/wabas', { wabaId: nextNumber() })
    await under.makeChannel(bare.wabaId)
    const flow = await under.makeFlow(bare.wabaId)
    expect((await send(flow.id)).body).toMatchObject({ status: 409, code: 'access_token_missing' })
    expect((await under.workspace.get(`/v1/flow-responses?flowToken=${flowToken}`)).body.data).toEqual([])
  })
})

test('404 for a flow, client, channel or conversation that is not there', async () => {
  const { send } = await sendable()
  expect((await under.send('POST', `/v1/flows/${newId('flow')}/messages`, { ...message, clientId: 'x' })).status).toBe(
    404,
  )
  for (const member of ['clientId', 'channelId', 'conversationId']) {
    const to = member === 'clientId' ? {} : { phoneNumber: nextPhoneNumber() }
    const answer = await send({ ...message, ...to, [member]: 'nowhere' })
    expect([answer.status, answer.body.detail]).toEqual([404, expect.stringMatching(new RegExp(`^${member}: `))])
  }
  expect(under.fake.calls).toEqual([])
})

describe('400', () => {
  const to = { phoneNumber: '+5215555550101' }
  const template = { name: 'offer', language: 'es' }
  test.each<[name: string, body: Json, paths: string[]]>([
    ['nobody to send to', { ...message }, ['phoneNumber']],
    ['two to send to', { ...message, ...to, clientId: 'client_x' }, ['phoneNumber']],
    ['no text and no button', { ...to }, ['body', 'cta']],
    ['a button of 31 characters', { ...to, body: 'x', cta: 'x'.repeat(31) }, ['cta']],
    ['a button with an emoji', { ...to, body: 'x', cta: 'Open 🦊' }, ['cta']],
    ['a button with a sign drawn as one', { ...to, body: 'x', cta: 'Open ❤️' }, ['cta']],
    ['a button with a keycap', { ...to, body: 'x', cta: 'Open 1\u20e3' }, ['cta']],
    ['a text of 1,025 characters', { ...to, body: 'x'.repeat(1025), cta: 'x' }, ['body']],
    ['data with data_exchange', { ...message, ...to, action: 'data_exchange', data: { n: 1 } }, ['data']],
    ['a screen with data_exchange', { ...message, ...to, action: 'data_exchange', screen: 'A' }, ['screen']],
    ['data that is empty', { ...message, ...to, data: {} }, ['data']],
    ['data that is a list', { ...message, ...to, data: [1] }, ['data']],
    ['a template in an interactive message', { ...message, ...to, template }, ['template']],
    ['a template message without one', { ...to, type: 'template' }, ['template']],
    ['what a template says itself', { ...message, ...to, type: 'template', template }, ['body', 'cta']],
    [
      'a flow button of their own',
      { ...to, type: 'template', template: { ...template, components: [{ type: 'button', sub_type: 'FLOW' }] } },
      ['template.components.0'],
    ],
    [
      'a flow button of their own, whatever else is there',
      {
        ...to,
        type: 'template',
        template: { ...template, components: [{ sub_type: { toString: 1 } }, { sub_type: 'flow' }] },
      },
      ['template.components.1'],
    ],
    ['a shared flow token', { ...message, ...to, flowToken: 'unused' }, ['flowToken']],
    ['an unknown type', { ...message, ...to, type: 'text' }, ['type']],
    ['an unknown member', { ...message, ...to, surprise: 1 }, ['surprise']],
    ['an unknown member of the template', { ...to, type: 'template', template: { ...template, x: 1 } }, ['template.x']],
  ])('for %s', async (_name, body, paths) => {
    const answer = await under.send('POST', `/v1/flows/${newId('flow')}/messages`, body)
    expect(answer.body).toMatchObject({ status: 400, code: 'invalid_input' })
    expect(answer.body.errors.map((fault: Json) => fault.path)).toEqual(paths)
  })

  test.each(['Ver oferta ✓', 'Öffnen', '100 % (©)', '開く', 'x'.repeat(30)])('not for the button %j', async (cta) => {
    const { send } = await sendable()
    expect((await send({ ...to, body: 'x', cta })).status).toBe(201)
  })
})
