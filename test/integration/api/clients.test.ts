import { afterAll, beforeAll, expect, test } from 'vitest'
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
