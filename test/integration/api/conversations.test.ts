import { afterAll, beforeAll, expect, test } from 'vitest'
import { startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { makeRecords, nextPhoneNumber, type Records } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let records: Records

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  records = await makeRecords(api, workspace)
})
afterAll(() => api.close())

test('changes each member alone, and leaves the others', async () => {
  const { id: clientId } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const made = await workspace.make('/v1/conversations', { clientId })
  const path = `/v1/conversations/${made.id}`
  let expected = made
  const changes = [
    { channelId: records.channelId },
    { contactName: 'Somebody' },
    { topic: 'Quote' },
    { platform: 'other' },
    { owners: ['agent'] },
    { tags: ['a', 'b'] },
    { status: 'closed' },
    { operation: 'manual' },
    { canSendDirectMessage: false },
    { messageCount: 7 },
    { channelId: null, contactName: null },
    {},
  ]
  for (const change of changes) {
    const answer = await workspace.patch(path, change)
    expect(answer.status).toBe(200)
    const { updatedAt, lastUpdate } = answer.body
    expect(lastUpdate).toBe(updatedAt)
    expected = { ...expected, ...change, updatedAt, lastUpdate }
    expect(answer.body).toEqual(expected)
    expect((await workspace.get(path)).body).toEqual(expected)
  }
})

test('400 for another client and for null where something must be, 404 for a channel that is not there', async () => {
  const path = `/v1/conversations/${records.conversationId}`
  for (const member of ['clientId', 'topic', 'owners', 'status', 'messageCount']) {
    const answer = await workspace.patch(path, { [member]: null })
    expect(answer.status).toBe(400)
    expect(answer.body.errors).toMatchObject([{ path: member }])
  }
  expect((await workspace.patch(path, { channelId: 'nothing' })).body.detail).toMatch(/^channelId: /)
})

test('DELETE: once', async () => {
  const { id } = await workspace.make('/v1/conversations', { clientId: records.clientId })
  const path = `/v1/conversations/${id}`
  expect((await workspace.remove(path)).status).toBe(204)
  for (const answer of [await workspace.remove(path), await workspace.get(path), await workspace.patch(path, {})]) {
    expect(answer.status).toBe(404)
  }
})
