import { afterAll, beforeAll, expect, test } from 'vitest'
import { startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { channelInput, nextNumber, nextPhoneNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let wabaId: string

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  wabaId = (await workspace.make('/v1/wabas', { wabaId: nextNumber() })).wabaId
})
afterAll(() => api.close())

test('is made, read and changed member by member', async () => {
  const made = await workspace.make('/v1/channels', channelInput(wabaId))
  const path = `/v1/channels/${made.id}`
  const other = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  let expected = made
  for (const change of [
    { phoneNumber: nextPhoneNumber() },
    { phoneNumberId: nextNumber() },
    { wabaId: other.wabaId },
    {},
  ]) {
    const answer = await workspace.patch(path, change)
    expect(answer.status).toBe(200)
    expected = { ...expected, ...change, updatedAt: answer.body.updatedAt }
    expect(answer.body).toEqual(expected)
    expect((await workspace.get(path)).body).toEqual(expected)
  }
})

test('409 for a phone number id that another channel has, 404 for a WABA that is not there', async () => {
  const [first, second] = [
    await workspace.make('/v1/channels', channelInput(wabaId)),
    await workspace.make('/v1/channels', channelInput(wabaId)),
  ]
  const { phoneNumberId } = first
  for (const answer of [
    await workspace.post('/v1/channels', { ...channelInput(wabaId), phoneNumberId }),
    await workspace.patch(`/v1/channels/${second.id}`, { phoneNumberId }),
  ]) {
    expect(answer).toMatchObject({ status: 409, body: { code: 'already_exists' } })
  }
  const nowhere = await workspace.patch(`/v1/channels/${first.id}`, { wabaId: nextNumber() })
  expect(nowhere).toMatchObject({ status: 404 })
  expect(nowhere.body.detail).toMatch(/^wabaId: /)
})

test('DELETE: once, and what named it keeps its id', async () => {
  const { id } = await workspace.make('/v1/channels', channelInput(wabaId))
  const { id: clientId } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const conversation = await workspace.make('/v1/conversations', { clientId, channelId: id })
  expect((await workspace.remove(`/v1/channels/${id}`)).status).toBe(204)
  expect((await workspace.remove(`/v1/channels/${id}`)).status).toBe(404)
  expect((await workspace.patch(`/v1/channels/${id}`, {})).status).toBe(404)
  expect((await workspace.get(`/v1/conversations/${conversation.id}`)).body.channelId).toBe(id)
})
