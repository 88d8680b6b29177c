import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { channelInput, nextNumber, nextPhoneNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

test('a client is made, then found again by the phone number and updated where something is given', async () => {
  const phoneNumber = nextPhoneNumber()
  const made = await workspace.post('/v1/clients', { phoneNumber, name: 'Ada Test', email: 'ada@example.test' })
  expect(made.status).toBe(201)
  expect(made.body).toEqual({
    id: expect.stringMatching(/^client_/),
    phoneNumber,
    name: 'Ada Test',
    firstname: null,
    email: 'ada@example.test',
    attributes: {},
    createdAt: expect.any(String),
    updatedAt: made.body.createdAt,
  })
  const found = await workspace.post('/v1/clients', { phoneNumber, firstname: 'Ada', email: null })
  expect(found.status).toBe(200)
  expect(found.body).toMatchObject({ id: made.body.id, name: 'Ada Test', firstname: 'Ada', email: null })
  expect(found.body.updatedAt >= made.body.updatedAt).toBe(true)
  expect((await workspace.get(`/v1/clients/${made.body.id}`)).body).toEqual(found.body)
  expect(api.changed.filter((id) => id === workspace.id)).toEqual([workspace.id])
})

test('the same phone number in another workspace is another client', async () => {
  const phoneNumber = nextPhoneNumber()
  const other = await api.makeWorkspace()
  const mine = await workspace.make('/v1/clients', { phoneNumber })
  const theirs = await other.make('/v1/clients', { phoneNumber })
  expect(theirs.id).not.toBe(mine.id)
})

test('of many upserts at once one makes the client, and none is lost', async () => {
  const phoneNumber = nextPhoneNumber()
  const members = [{ name: 'n' }, { firstname: 'f' }, { email: 'e@example.test' }, {}, {}, {}]
  const answers = await Promise.all(members.map((given) => workspace.post('/v1/clients', { phoneNumber, ...given })))
  expect(answers.map((answer) => answer.status).toSorted()).toEqual([200, 200, 200, 200, 200, 201])
  const read = await workspace.get(`/v1/clients/${answers[0]?.body.id}`)
  expect(read.body).toMatchObject({ name: 'n', firstname: 'f', email: 'e@example.test' })
})

test('a conversation looks as it does in the envelope', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const channel = await workspace.make('/v1/channels', channelInput(wabaId))
  const client = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber(), name: 'Ada Test' })
  const conversation = await workspace.make('/v1/conversations', { clientId: client.id, channelId: channel.id })
  expect(conversation).toEqual({
    id: expect.stringMatching(/^conv_/),
    conversationId: conversation.id,
    canSendDirectMessage: true,
    workspaceId: workspace.id,
    channelId: channel.id,
    contactName: 'Ada Test',
    phoneNumber: client.phoneNumber,
    topic: '',
    platform: 'whatsapp',
    owners: [],
    tags: [],
    creationDate: conversation.createdAt,
    lastUpdate: conversation.updatedAt,
    status: 'open',
    operation: 'automatic',
    messageCount: 0,
    clientId: client.id,
    createdAt: expect.any(String),
    updatedAt: conversation.createdAt,
  })
  expect((await workspace.get(`/v1/conversations/${conversation.id}`)).body).toEqual(conversation)
  expect((await workspace.get('/v1/conversations')).body.data).toEqual([conversation])
})

test('what a conversation is given is kept', async () => {
  const { id: clientId } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const given = {
    contactName: 'Somebody',
    topic: 'Quote',
    platform: 'other',
    owners: ['agent, "one"', '{two}'],
    tags: ['a', 'b'],
    status: 'closed',
    operation: 'manual',
    canSendDirectMessage: false,
    messageCount: 2 ** 31 - 1,
  }
  expect(await workspace.make('/v1/conversations', { clientId, ...given })).toMatchObject({
    clientId,
    channelId: null,
    ...given,
  })
})

describe('attributes', () => {
  const attributes = { plan: 'gold', scores: [1, 2.5], nested: { '\u{1f98a}': null, zebra: 1, apple: '\u0000' } }

  test('are kept as they are given, and replaced as a whole', async () => {
    const phoneNumber = nextPhoneNumber()
    const made = await workspace.make('/v1/clients', { phoneNumber, attributes })
    expect(JSON.stringify(made.attributes)).toBe(JSON.stringify(attributes))
    expect((await workspace.post('/v1/clients', { phoneNumber, name: 'x' })).body.attributes).toEqual(attributes)
    const changed = await workspace.patch(`/v1/clients/${made.id}`, { attributes: { plan: 'lead' } })
    expect(changed.body.attributes).toEqual({ plan: 'lead' })
    expect((await workspace.post('/v1/clients', { phoneNumber, attributes: {} })).body.attributes).toEqual({})
    expect((await workspace.get('/v1/clients')).body.data[0].attributes).toEqual({})
  })

  test('400 for what is no object, or over 16 KiB of JSON', async () => {
    const ofBytes = (bytes: number) => ({ a: 'x'.repeat(bytes - '{"a":""}'.length) })
    const { id } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber(), attributes: ofBytes(16_384) })
    for (const bad of [ofBytes(16_385), ofBytes(9000).a.replaceAll('x', 'é'), [], 'text', 1, null]) {
      const answer = await workspace.patch(`/v1/clients/${id}`, { attributes: bad })
      expect(answer.status).toBe(400)
      expect(answer.body.errors).toMatchObject([{ path: 'attributes' }])
    }
  })
})

describe('PATCH', () => {
  test('changes each member alone, and empties what can be empty', async () => {
    const made = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber(), name: 'Ada Test' })
    let expected = made
    for (const change of [
      { name: 'Other' },
      { firstname: 'O' },
      { email: 'o@example.test' },
      { phoneNumber: nextPhoneNumber() },
      { name: null, firstname: null, email: null },
      {},
    ]) {
      const answer = await workspace.patch(`/v1/clients/${made.id}`, change)
      expect(answer.status).toBe(200)
      expected = { ...expected, ...change, updatedAt: answer.body.updatedAt }
      expect(answer.body).toEqual(expected)
    }
    expect((await workspace.get(`/v1/clients/${made.id}`)).body).toEqual(expected)
  })

  test('409 for the phone number of another client, without a trace of it', async () => {
    const [first, second] = [
      await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() }),
      await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() }),
    ]
    const answer = await workspace.patch(`/v1/clients/${second.id}`, { phoneNumber: first.phoneNumber })
    expect(answer).toMatchObject({ status: 409, body: { code: 'already_exists' } })
    expect(answer.text).not.toContain(first.phoneNumber.slice(1))
    expect((await workspace.patch(`/v1/clients/${second.id}`, { phoneNumber: null })).status).toBe(400)
  })
})
