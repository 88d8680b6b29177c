import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import {
  bodyOf,
  entryOf,
  messageChange,
  nfmReply,
  postEvents,
  type ReplyParts,
  type TellTale,
  tellTale,
} from '../support/meta-webhook.ts'
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

const updates = JSON.parse(readFileSync(new URL('../vectors/nfm-reply-pywa.json', import.meta.url), 'utf8')).updates

let relevo: TestRelevo
let tenant: FakeTenant
let tale: TellTale
let account: TestAccount
let webhookId: string

beforeAll(async () => {
  relevo = await startRelevo()
  tenant = await startTenant()
  tale = tellTale(relevo)
})
afterAll(async () => {
  await relevo.close()
  await tenant.close()
  await tale.close()
})
beforeEach(async () => {
  account = await createAccount(relevo)
  const events = ['whatsapp.flows.exchanges', 'whatsapp.flows.completed']
  webhookId = (await createWebhook(relevo, account, tenant.url, { events })).id
})

async function post(...changes: object[]): Promise<void> {
  const answer = await postEvents(relevo, bodyOf(entryOf(account.wabaId, ...changes)), account.appSecret)
  expect(answer.status).toBe(200)
}

const list = async (path: string) => (await relevo.api('GET', path, { token: account.token })).body.data
const make = (path: string, body: object) => create(relevo, path, body, account.token)
const rowOf = async (flowToken: string) => {
  const [row] = await list(`/v1/flow-responses?flowToken=${encodeURIComponent(flowToken)}`)
  return row
}
const completedEvents = () => tale.envelopes(webhookId)
const channel = (phoneNumberId: string) =>
  make('/v1/channels', { wabaId: account.wabaId, phoneNumberId, phoneNumber: '+15550953877' })
const person = '+5215550001111'
const confirm = (flowToken: string, parts: ReplyParts = {}) =>
  post(nfmReply({ response: { flow_token: flowToken, choice: 'p2' }, ...parts }))

describe('messages', () => {
  it('make a client and a conversation with the API’s defaults, and are counted', async () => {
    const { id: channelId } = await channel('277321005464405')
    await post(messageChange({ name: 'Ana Example' }), messageChange(), messageChange({ from: '4915550000001' }))
    const clients = await list('/v1/clients')
    expect(clients.map((one: { phoneNumber: string }) => one.phoneNumber).toSorted()).toEqual([
      '+4915550000001',
      person,
    ])
    const conversations = await list('/v1/conversations')
    expect(conversations).toHaveLength(2)
    const theirs = conversations.find((one: { phoneNumber: string }) => one.phoneNumber === person)
    const byHand = await make('/v1/conversations', { clientId: theirs.clientId })
    const { id, conversationId, channelId: _none, createdAt, creationDate, updatedAt, lastUpdate, ...members } = byHand
    expect(theirs).toMatchObject({ ...members, contactName: 'Ana Example', channelId, messageCount: 2 })
    await post(messageChange())
    expect((await list(`/v1/conversations`)).find((one: { id: string }) => one.id === theirs.id)).toMatchObject({
      messageCount: 3,
    })
  })

  it('keep the name that a tenant set, and fill in one that is missing', async () => {
    await make('/v1/clients', { phoneNumber: person, name: 'As we know her' })
    const { id, updatedAt } = await make('/v1/clients', { phoneNumber: '+4915550000001' })
    await post(messageChange(), messageChange({ from: '4915550000001', name: 'As she says' }))
    const names = (await list('/v1/clients')).map((one: { name: string }) => one.name).toSorted()
    expect(names).toEqual(['As she says', 'As we know her'])
    const { body } = await relevo.api('GET', `/v1/clients/${id}`, { token: account.token })
    expect(body.updatedAt > updatedAt).toBe(true)
  })

  it('go to the conversation on their channel, else to one without a channel', async () => {
    const { id: first } = await channel('1')
    await channel('2')
    const { id: clientId } = await make('/v1/clients', { phoneNumber: person })
    const onFirst = await make('/v1/conversations', { clientId, channelId: first, topic: 'Sales', messageCount: 5 })
    const anywhere = await make('/v1/conversations', { clientId, owners: ['agent-7'], messageCount: 2 ** 31 - 1 })
    await post(messageChange({ phoneNumberId: '1' }), messageChange({ phoneNumberId: '2' }), messageChange())
    const counts = Object.fromEntries(
      (await list('/v1/conversations')).map((one: { id: string; messageCount: number }) => [one.id, one.messageCount]),
    )
    expect(counts).toEqual({ [onFirst.id]: 6, [anywhere.id]: 2 ** 31 - 1 })
  })

  it('go to the newest conversation of several', async () => {
    const { id: clientId } = await make('/v1/clients', { phoneNumber: person })
    const conversations = [await make('/v1/conversations', { clientId }), await make('/v1/conversations', { clientId })]
    await post(messageChange())
    const newest = conversations.map(({ id }) => id).toSorted()[1]
    expect(
      (await list('/v1/conversations')).filter((one: { messageCount: number }) => one.messageCount > 0),
    ).toMatchObject([{ id: newest }])
  })

  it('told twice, also at the same moment, are counted once', async () => {
    const change = messageChange()
    const reply = nfmReply({ response: { flow_token: 'twice' } })
    await Promise.all(Array.from({ length: 8 }, () => post(change, reply, change)))
    await post(change, reply)
    const [conversation, ...others] = await list('/v1/conversations')
    expect(others).toEqual([])
    expect(conversation.messageCount).toBe(2)
    expect(await completedEvents()).toHaveLength(1)
  })

  it('of one new client in many bodies at once make one conversation', async () => {
    await Promise.all(Array.from({ length: 12 }, () => post(messageChange())))
    const conversations = await list('/v1/conversations')
    expect(conversations.map((one: { messageCount: number }) => one.messageCount)).toEqual([12])
  })

  it('of senders without a phone number pass', async () => {
    await post(
      messageChange({ from: 'US.13491208655302741918' }),
      messageChange({ more: { from: undefined } }),
      messageChange({ from: '1234567' }),
      messageChange({ from: '\u0000' }),
    )
    // The second has its contact's.
    expect((await list('/v1/clients')).map((one: { phoneNumber: string }) => one.phoneNumber)).toEqual([person])
  })

  it('hold whatever text', async () => {
    const name = `\u0000${'\ud800'}${'n'.repeat(300)}`
    await post(messageChange({ name, id: `\u0000${'i'.repeat(10_000)}`, phoneNumberId: '\u0000' }))
    expect((await list('/v1/clients'))[0].name).toHaveLength(200)
    await confirm(`\u0000\ud800 ${'t'.repeat(5000)}`, { contextId: `\u0000${'c'.repeat(5000)}` })
    expect(await completedEvents()).toHaveLength(1)
  })
})

describe('nfm_reply', () => {
  it('as Meta sends it: makes a completed flow response and tells of it', async () => {
    const wabaId = updates.completion.entry[0].id
    account = await createAccount(relevo, { wabaId })
    webhookId = (await createWebhook(relevo, account, tenant.url, { events: ['whatsapp.flows.completed'] })).id
    const flow = await make('/v1/flows', { wabaId, metaFlowId: '1', name: 'Survey' })
    expect((await postEvents(relevo, updates.completion, account.appSecret)).status).toBe(200)
    const flowToken = 'AQAAAAACS5FpgQ_cAAAAAD0QI3s.'
    const row = await rowOf(flowToken)
    const [client] = await list('/v1/clients')
    const [conversation] = await list('/v1/conversations')
    const linked = { clientId: client.id, conversationId: conversation.id, messageId: 'wamid.gvwegfretge==' }
    const completedAt = '2023-12-13T21:21:13.000Z'
    expect(row).toMatchObject({ ...linked, status: 'COMPLETED', completedAt, openedAt: null, flowId: flow.id })
    const [envelope, ...more] = await completedEvents()
    expect(more).toEqual([])
    expect(Object.keys(envelope.data)).toEqual(['client', 'conversation', 'flow', 'flowResponse', 'response'])
    expect(envelope).toMatchObject({
      event: 'whatsapp.flows.completed',
      workspaceId: account.workspaceId,
      source: 'whatsapp.flows',
      resourceType: 'flow_response',
      resourceId: flowToken,
      changes: null,
      data: {
        client: { id: client.id, phoneNumber: '+972987654321', name: 'Test Name' },
        conversation: { id: conversation.id, messageCount: 1 },
        flow: { id: flow.id, wabaId, name: 'Survey' },
        flowResponse: { ...linked, flowToken, status: 'COMPLETED', completedAt },
        response: JSON.parse(
          updates.completion.entry[0].changes[0].value.messages[0].interactive.nfm_reply.response_json,
        ),
      },
    })
    // The same message without its token is the same message.
    expect((await postEvents(relevo, updates.without_flow_token, account.appSecret)).status).toBe(200)
    expect(await completedEvents()).toHaveLength(1)
  })

  it('finds its flow response by the message that sent the flow, whatever token comes back', async () => {
    const { id } = await make('/v1/flow-responses', { flowToken: 'sent', messageId: 'wamid.sent', phoneNumber: person })
    await post(nfmReply({ contextId: 'wamid.sent', response: { choice: 'p2' } }))
    expect(await rowOf('sent')).toMatchObject({ id, status: 'COMPLETED' })
    await make('/v1/flow-responses', { flowToken: 'sent-2', messageId: 'wamid.sent-2' })
    await post(nfmReply({ contextId: 'wamid.sent-2', response: { flow_token: 'another' } }))
    expect(await rowOf('sent-2')).toMatchObject({ status: 'COMPLETED' })
    expect(await rowOf('another')).toBeUndefined()
    expect((await completedEvents()).map(({ resourceId }) => resourceId)).toEqual(['sent', 'sent-2'])
  })

  it('completes the newest of several that one message sent', async () => {
    const rows = []
    for (const flowToken of ['first', 'second']) {
      rows.push(await make('/v1/flow-responses', { flowToken, messageId: 'wamid.both' }))
    }
    await post(nfmReply({ contextId: 'wamid.both' }))
    const [oldest, newest] = rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))
    expect(await rowOf(newest.flowToken)).toMatchObject({ status: 'COMPLETED' })
    expect(await rowOf(oldest.flowToken)).toMatchObject({ status: 'SENT' })
  })

  it('links client, conversation and channel where the row has none, and keeps what a tenant set', async () => {
    const { id: channelId } = await channel('277321005464405')
    const { id: clientId } = await make('/v1/clients', { phoneNumber: person })
    const { id: conversationId } = await make('/v1/conversations', { clientId, topic: 'Their own' })
    await make('/v1/flow-responses', { flowToken: 'bare' })
    await make('/v1/flow-responses', { flowToken: 'by-conversation', conversationId, messageId: 'wamid.own' })
    await confirm('bare')
    await confirm('by-conversation')
    expect(await rowOf('bare')).toMatchObject({ clientId, channelId })
    expect(await rowOf('by-conversation')).toMatchObject({ clientId, conversationId, messageId: 'wamid.own' })
    const [, second] = await completedEvents()
    expect(second.data).toMatchObject({ client: { id: clientId }, conversation: { topic: 'Their own' } })
  })

  it('of somebody else completes nothing and tells nothing', async () => {
    const { id: clientId } = await make('/v1/clients', { phoneNumber: '+4915550000001' })
    const { id: conversationId } = await make('/v1/conversations', { clientId })
    await make('/v1/flow-responses', { flowToken: 'hers', clientId, messageId: 'wamid.hers' })
    await make('/v1/flow-responses', { flowToken: 'hers-too', conversationId })
    await confirm('hers')
    await confirm('hers-too')
    await confirm('hers', { contextId: 'wamid.hers' })
    expect(await rowOf('hers')).toMatchObject({ status: 'SENT', clientId })
    expect(await rowOf('hers-too')).toMatchObject({ status: 'SENT' })
    expect(await completedEvents()).toEqual([])
    await confirm('hers', { from: '4915550000001' })
    expect(await rowOf('hers')).toMatchObject({ status: 'COMPLETED' })
  })

  it('of a sender without a phone number completes by its message, and by token what is nobody’s', async () => {
    const from = 'US.13491208655302741918'
    await make('/v1/flow-responses', { flowToken: 'a', phoneNumber: person, messageId: 'wamid.a' })
    await make('/v1/flow-responses', { flowToken: 'b', phoneNumber: person })
    await confirm('a', { from, contextId: 'wamid.a' })
    await confirm('b', { from })
    await confirm('c', { from })
    expect((await completedEvents()).map(({ resourceId }) => resourceId)).toEqual(['a', 'c'])
    expect(await rowOf('b')).toMatchObject({ status: 'SENT' })
    expect((await completedEvents())[0].data.client).toMatchObject({ phoneNumber: person })
    expect((await completedEvents())[1].data.client).toBeNull()
  })

  it('that names a channel and a message of another workspace touches neither', async () => {
    const other = await createAccount(relevo)
    const theirs = (path: string, body: object) => create(relevo, path, body, other.token)
    await theirs('/v1/channels', { wabaId: other.wabaId, phoneNumberId: '9', phoneNumber: '+15550953877' })
    await theirs('/v1/flow-responses', { flowToken: 'theirs', messageId: 'wamid.shared' })
    await confirm('mine', { phoneNumberId: '9', contextId: 'wamid.shared' })
    expect((await list('/v1/conversations'))[0]).toMatchObject({ channelId: null })
    expect(await rowOf('mine')).toMatchObject({ status: 'COMPLETED', channelId: null })
    expect(await rowOf('theirs')).toBeUndefined()
  })

  it('after a SUCCESS reply confirms it, once, and a BACK reopens nothing', async () => {
    tenant.always(reply({ screen: 'SUCCESS', data: { extension_message_response: { params: { flow_token: 'x' } } } }))
    await account.meta.init('journey')
    await relevo.exchanges(account, 1)
    const bySuccess = await rowOf('journey')
    expect(bySuccess).toMatchObject({ status: 'COMPLETED' })
    expect(await completedEvents()).toEqual([])
    await confirm('journey')
    await confirm('journey')
    const confirmed = await rowOf('journey')
    expect(confirmed).toMatchObject({ status: 'COMPLETED', completedAt: bySuccess.completedAt })
    expect(confirmed.openedAt).toBe(bySuccess.openedAt)
    const [envelope, ...more] = await completedEvents()
    expect(more).toEqual([])
    expect(envelope.data.flowResponse).toMatchObject({ completedAt: bySuccess.completedAt })

    await account.meta.call({ action: 'BACK', screen: 'LAST', flow_token: 'journey', version: '3.0' })
    await relevo.exchanges(account, 2)
    const after = await rowOf('journey')
    expect(after).toMatchObject({
      status: 'COMPLETED',
      completedAt: bySuccess.completedAt,
      openedAt: bySuccess.openedAt,
    })
    expect(after.lastActivityAt > confirmed.lastActivityAt).toBe(true)
    expect(JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '').data.flowResponse.status).toBe('COMPLETED')
  })

  it('before any exchange: what comes later does not reopen it', async () => {
    const timestamp = Math.floor(Date.now() / 1000) - 60
    await confirm('early', { timestamp })
    expect(await rowOf('early')).toMatchObject({ completedAt: new Date(timestamp * 1000).toISOString() })
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    await account.meta.init('early')
    await relevo.exchanges(account, 1)
    expect(await rowOf('early')).toMatchObject({ status: 'COMPLETED', openedAt: null })
  })

  it('of an expired flow response is told all the same, and leaves it expired', async () => {
    const past = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
    await make('/v1/flow-responses', { flowToken: 'late', sentAt: past(2), expiresAt: past(1) })
    await confirm('late')
    await confirm('late')
    expect(await rowOf('late')).toMatchObject({ status: 'EXPIRED', completedAt: null })
    await make('/v1/flow-responses', { flowToken: 'in-time', sentAt: past(2), expiresAt: past(1) })
    await confirm('in-time', { timestamp: Math.floor(Date.now() / 1000) - 90 * 60 })
    expect(await rowOf('in-time')).toMatchObject({ status: 'COMPLETED' })
    const told = (await completedEvents()).map(({ resourceId, data }) => [resourceId, data.flowResponse.status])
    expect(told).toEqual([
      ['late', 'COMPLETED'],
      ['in-time', 'COMPLETED'],
    ])
  })

  it.each([
    ['not JSON', '{"flow_token":', {}],
    ['a list', '[1]', {}],
    ['nested too deep', `{"a":${'['.repeat(300)}${']'.repeat(300)}}`, {}],
    ['without a token', '{"a":1}', { a: 1 }],
    ['with a token that is no text', '{"flow_token":7}', { flow_token: 7 }],
  ])('whose response_json is %s is told without a flow response', async (_name, response, read) => {
    await post(nfmReply({ response }))
    const [envelope] = await completedEvents()
    expect(envelope).toMatchObject({ resourceId: null, data: { flowResponse: null, response: read } })
    expect(envelope.data.client).toMatchObject({ phoneNumber: person })
    expect(await list('/v1/flow-responses')).toEqual([])
  })

  it('with a token that strangers share makes no row, and each is told', async () => {
    await confirm('unused')
    await confirm('unused')
    await confirm('flows-builder-abc')
    const told = await completedEvents()
    expect(told.map(({ data }) => data.flowResponse)).toEqual([
      { flowToken: 'unused', status: 'COMPLETED' },
      { flowToken: 'unused', status: 'COMPLETED' },
      { flowToken: 'flows-builder-abc', status: 'COMPLETED' },
    ])
    expect(await list('/v1/flow-responses')).toEqual([])
  })

  it('of another name than flow is a message like any other', async () => {
    await confirm('address', { nfmName: 'address_message' })
    expect(await rowOf('address')).toBeUndefined()
    expect((await list('/v1/conversations'))[0].messageCount).toBe(1)
  })

  it('is told to those who chose its flow, and to nobody who did not subscribe', async () => {
    const flow = await make('/v1/flows', { wabaId: account.wabaId, metaFlowId: '1' })
    await make('/v1/flows', { wabaId: account.wabaId, metaFlowId: '2' })
    const events = ['whatsapp.flows.completed']
    const chosen = await createWebhook(relevo, account, tenant.url, { events, flowIds: [flow.id], format: 'plain' })
    const off = await createWebhook(relevo, account, tenant.url, { events, active: false })
    const exchangesOnly = await createWebhook(relevo, account, tenant.url)
    await make('/v1/flow-responses', { flowToken: 'of-the-flow', flowId: flow.id })
    await confirm('of-the-flow')
    await confirm('of-no-flow')
    const ids = async (id: string) => (await tale.envelopes(id)).map(({ resourceId }) => resourceId)
    expect(await ids(webhookId)).toEqual(['of-the-flow', 'of-no-flow'])
    expect(await ids(chosen.id)).toEqual(['of-the-flow'])
    expect([...(await ids(off.id)), ...(await ids(exchangesOnly.id))]).toEqual([])
    const [one, two] = [(await tale.envelopes(webhookId))[0], (await tale.envelopes(chosen.id))[0]]
    expect(one).toEqual(two)
    // Their alarms ring.
    await eventually(async () => {
      const attempted =
        await tale.sql`select from deliveries where webhook_id in ${tale.sql([webhookId, chosen.id])} and attempts > 0`
      return attempted.length === 3
    })
  })
})
