import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defaultLifetimeMs, firstSeen } from '../../../src/domain/flow-response.ts'
import { newId, newUuid } from '../../../src/domain/ids.ts'
import { writeExchanges } from '../../../src/storage/exchanges.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { makeRecords, nextNumber, nextPhoneNumber, type Records } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let records: Records

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  records = await makeRecords(api, workspace)
})
afterAll(() => api.close())

const path = '/v1/flow-responses'
const nextToken = () => `token-${nextNumber()}`
const anHourAgo = new Date(Date.now() - 3_600_000).toISOString()
const afterADay = (time: string) => new Date(Date.parse(time) + defaultLifetimeMs).toISOString()

/** Writes the row as a recorded exchange does. */
function exchange(flowToken: string, flowId: string | null = null): Promise<void> {
  const now = new Date()
  const opened = {
    workspaceId: workspace.id,
    id: newUuid(),
    createdAt: now,
    wabaId: records.wabaId,
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: null,
    flowToken,
    flowId,
    clientId: null,
    webhookId: null,
    envelope: null,
    flowResponse: firstSeen(newId('flowResponse'), flowToken, flowId, now),
  }
  return writeExchanges(api.database.sql, { opened: [opened], closed: [], deliveries: [] }, async () => {})
}

test('the number that Meta sent a flow to goes with the client whom it was sent to', async () => {
  const flowToken = nextToken()
  const [{ id: sentTo }, { id: other }] = await Promise.all(
    [1, 2].map(() => workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })),
  )
  const { id } = await workspace.make(path, { flowToken, clientId: sentTo })
  const { sql } = api.database
  const write = (by: 'post' | 'patch', clientId: string | null) => {
    const body = { campaignId: 'summer', ...(clientId === null ? {} : { clientId }) }
    return by === 'post' ? workspace.post(path, { flowToken, ...body }) : workspace.patch(`${path}/${id}`, body)
  }
  for (const by of ['post', 'patch'] as const) {
    await sql`update flow_responses set meta_phone_number = '5215550001111', client_id = ${sentTo} where id = ${id}`
    const kept: unknown[] = []
    for (const clientId of [null, sentTo, other]) {
      expect((await write(by, clientId)).status).toBe(200)
      const [row] = await sql`select meta_phone_number from flow_responses where id = ${id}`
      kept.push(row?.meta_phone_number)
    }
    expect(kept).toEqual(['5215550001111', '5215550001111', null])
  }
})

test('a flow response is made as SENT and expires a day after it was made', async () => {
  const flowToken = nextToken()
  const made = await workspace.post(path, { flowToken })
  expect(made.status).toBe(201)
  expect(made.body).toEqual({
    id: expect.stringMatching(/^fr_/),
    flowToken,
    status: 'SENT',
    sendStatus: null,
    flowId: null,
    sentAt: null,
    openedAt: null,
    lastActivityAt: null,
    completedAt: null,
    expiresAt: afterADay(made.body.createdAt),
    clientId: null,
    conversationId: null,
    messageId: null,
    campaignId: null,
    agentId: null,
    channelId: null,
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  })
  expect((await workspace.get(`${path}/${made.body.id}`)).body).toEqual(made.body)
})

test('all that is given is kept, times in UTC', async () => {
  const { flowId, clientId, conversationId, channelId } = records
  const links = { flowId, clientId, conversationId, channelId, messageId: 'wamid.1', campaignId: 'c', agentId: 'a' }
  const times = { sentAt: '2026-05-06T20:59:00+02:00', expiresAt: '2026-06-01T00:00:00.123Z' }
  const made = await workspace.make(path, { flowToken: nextToken(), ...links, ...times })
  expect(made).toMatchObject({ ...links, sentAt: '2026-05-06T18:59:00.000Z', expiresAt: times.expiresAt })
})

test('a known token is filled in: 200, given members change, the others and the status stay', async () => {
  const flowToken = nextToken()
  const first = await workspace.make(path, { flowToken, messageId: 'wamid.1', sentAt: anHourAgo })
  expect(first.expiresAt).toBe(afterADay(anHourAgo))
  await exchange(flowToken, records.flowId)
  const second = await workspace.post(path, { flowToken, clientId: records.clientId })
  expect(second.status).toBe(200)
  expect(second.body).toMatchObject({
    id: first.id,
    status: 'IN_PROGRESS',
    messageId: 'wamid.1',
    flowId: records.flowId,
    clientId: records.clientId,
    sentAt: first.sentAt,
    expiresAt: first.expiresAt,
    createdAt: first.createdAt,
  })
  expect(second.body.openedAt).not.toBeNull()
})

test.each(['COMPLETED', 'EXPIRED'])('a token that is %s stays so', async (status) => {
  const flowToken = nextToken()
  await workspace.make(path, { flowToken })
  await api.database.sql`update flow_responses set status = ${status} where flow_token = ${flowToken}`
  const answer = await workspace.post(path, { flowToken, sentAt: '2026-05-06T18:59:00Z' })
  expect(answer.body).toMatchObject({ status, sentAt: '2026-05-06T18:59:00.000Z' })
})

test('a token past its time is EXPIRED in every answer, whether or not a sweep has come by, and stays so', async () => {
  const flowToken = nextToken()
  const { id, ...made } = await workspace.make(path, { flowToken, expiresAt: anHourAgo })
  expect(made.status).toBe('EXPIRED')
  const stored = await api.database.sql`select status from flow_responses where id = ${id}`
  expect(stored).toEqual([{ status: 'SENT' }])
  expect((await workspace.get(`${path}/${id}`)).body.status).toBe('EXPIRED')
  expect((await workspace.get(`${path}?flowToken=${flowToken}`)).body.data[0].status).toBe('EXPIRED')
  expect((await workspace.patch(`${path}/${id}`, { agentId: 'a' })).body.status).toBe('EXPIRED')

  const later = { expiresAt: '2126-01-01T00:00:00.000Z' }
  expect((await workspace.patch(`${path}/${id}`, later)).body).toMatchObject({ ...later, status: 'EXPIRED' })
  const again = nextToken()
  await workspace.make(path, { flowToken: again, expiresAt: anHourAgo })
  expect((await workspace.post(path, { flowToken: again, ...later })).body).toMatchObject({
    ...later,
    status: 'EXPIRED',
  })
})

test('a token that is completed is not EXPIRED past its time', async () => {
  const flowToken = nextToken()
  const { id } = await workspace.make(path, { flowToken, expiresAt: anHourAgo })
  await api.database.sql`update flow_responses set status = 'COMPLETED' where id = ${id}`
  expect((await workspace.patch(`${path}/${id}`, { agentId: 'a' })).body.status).toBe('COMPLETED')
  expect((await workspace.get(`${path}/${id}`)).body.status).toBe('COMPLETED')
})

test('an expiry that nobody chose follows sentAt, one that was chosen stays', async () => {
  const sentAt = anHourAgo
  const afterExchange = nextToken()
  await exchange(afterExchange)
  expect((await workspace.post(path, { flowToken: afterExchange, sentAt })).body.expiresAt).toBe(afterADay(sentAt))
  const sentTwice = nextToken()
  await workspace.make(path, { flowToken: sentTwice, sentAt: '2026-05-06T18:59:00Z' })
  expect((await workspace.post(path, { flowToken: sentTwice, sentAt })).body.expiresAt).toBe(afterADay(sentAt))
  const chosen = nextToken()
  await workspace.make(path, { flowToken: chosen, expiresAt: '2027-01-01T00:00:00Z' })
  expect((await workspace.post(path, { flowToken: chosen, sentAt })).body.expiresAt).toBe('2027-01-01T00:00:00.000Z')
})

test('a phone number finds its client or makes it', async () => {
  const phoneNumber = nextPhoneNumber()
  const made = await workspace.make(path, { flowToken: nextToken(), phoneNumber })
  const client = (await workspace.get(`/v1/clients/${made.clientId}`)).body
  expect(client.phoneNumber).toBe(phoneNumber)
  const again = await workspace.make(path, { flowToken: nextToken(), phoneNumber })
  expect(again.clientId).toBe(made.clientId)
  expect((await workspace.get(`/v1/clients/${made.clientId}`)).body).toEqual(client)
})

test('400 for a phone number beside a client id, and for tokens that strangers share', async () => {
  const both = await workspace.post(path, {
    flowToken: nextToken(),
    phoneNumber: nextPhoneNumber(),
    clientId: records.clientId,
  })
  expect(both.status).toBe(400)
  expect(both.body.errors).toMatchObject([{ path: 'phoneNumber' }])
  for (const flowToken of ['unused', 'flows-builder-1a2b', '', 'a\0b', 'x'.repeat(4097)]) {
    const answer = await workspace.post(path, { flowToken })
    expect(answer.status).toBe(400)
    expect(answer.body.errors[0].path).toBe('flowToken')
  }
})

test.each([
  'yesterday',
  '2026-05-06',
  '2026-05-06T18:59:00',
  '2026-13-06T18:59:00Z',
  '0000-01-01T00:00:00Z',
  '9999-12-31T23:59:59-23:59',
])('400 for the time %s', async (sentAt) => {
  const answer = await workspace.post(path, { flowToken: nextToken(), sentAt })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toMatchObject([{ path: 'sentAt' }])
})

test('a list can be asked for one token, of any form', async () => {
  for (const flowToken of [nextToken(), 'a b\nc&d=?#%', '\u{1f98a}'.repeat(1000), 'ZmxvdyQwMQ==', 'x'.repeat(4096)]) {
    const made = await workspace.make(path, { flowToken })
    const listed = await workspace.get(`${path}?flowToken=${encodeURIComponent(flowToken)}`)
    expect(listed.body).toEqual({ data: [made], nextCursor: null })
  }
  expect((await workspace.get(`${path}?flowToken=nobody`)).body.data).toEqual([])
})

test('the API and exchanges write one token at once: one row, nothing fails, nothing is lost', async () => {
  for (let round = 0; round < 10; round++) {
    const flowToken = nextToken()
    const phoneNumber = nextPhoneNumber()
    const given: Json[] = [
      { messageId: 'wamid.1' },
      { campaignId: 'c' },
      { agentId: 'a' },
      { phoneNumber },
      { conversationId: records.conversationId },
      { channelId: records.channelId },
      { sentAt: anHourAgo },
    ]
    const writes = given.flatMap((members) => [
      workspace.post(path, { flowToken, ...members }),
      exchange(flowToken, records.flowId),
    ])
    const answers = (await Promise.all(writes)).filter((answer) => answer !== undefined)
    expect(answers.filter((answer) => answer.status > 201)).toEqual([])
    expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1)
    const [row] = (await workspace.get(`${path}?flowToken=${flowToken}`)).body.data
    const { phoneNumber: _phoneNumber, ...members } = Object.assign({}, ...given)
    expect(row).toMatchObject({ ...members, status: 'IN_PROGRESS', flowId: records.flowId })
    expect((await workspace.get(`/v1/clients/${row.clientId}`)).body.phoneNumber).toBe(phoneNumber)
    expect(row.expiresAt).toBe(afterADay(anHourAgo))
  }
})

describe('PATCH', () => {
  test('changes links and the end, and nothing else', async () => {
    const made = await workspace.make(path, { flowToken: nextToken(), messageId: 'wamid.1', agentId: 'a' })
    const { flowId, clientId, conversationId, channelId } = records
    const links = { flowId, clientId, conversationId, channelId, campaignId: 'c', agentId: null }
    const changed = await workspace.patch(`${path}/${made.id}`, { ...links, expiresAt: '2030-01-01T00:00:00+01:00' })
    expect(changed.status).toBe(200)
    const expected = { ...made, ...links, expiresAt: '2029-12-31T23:00:00.000Z', updatedAt: changed.body.updatedAt }
    expect(changed.body).toEqual(expected)
    expect((await workspace.get(`${path}/${made.id}`)).body).toEqual(expected)
    expect((await workspace.patch(`${path}/${made.id}`, {})).body).toMatchObject({ ...links, messageId: 'wamid.1' })
  })

  test('an expiry that nobody chose follows sentAt; one that was chosen, or is given beside it, stays', async () => {
    const sentAt = anHourAgo
    const chosen = '2030-01-01T00:00:00.000Z'
    const { id } = await workspace.make(path, { flowToken: nextToken() })
    const changed = await workspace.patch(`${path}/${id}`, { sentAt })
    expect(changed.body).toMatchObject({ sentAt, expiresAt: afterADay(sentAt), status: 'SENT' })
    const both = { sentAt: new Date().toISOString(), expiresAt: chosen }
    expect((await workspace.patch(`${path}/${id}`, both)).body).toMatchObject(both)
    expect((await workspace.patch(`${path}/${id}`, { sentAt })).body).toMatchObject({ sentAt, expiresAt: chosen })
    expect((await workspace.patch(`${path}/${id}`, { sentAt: null })).body.errors).toMatchObject([{ path: 'sentAt' }])
  })

  test('a later sentAt does not bring back what has ended, an early one ends', async () => {
    const [longAgo, now] = ['2026-01-01T00:00:00.000Z', new Date().toISOString()]
    const ended = await workspace.make(path, { flowToken: nextToken(), sentAt: longAgo })
    expect(ended.status).toBe('EXPIRED')
    const later = await workspace.patch(`${path}/${ended.id}`, { sentAt: now })
    expect(later.body).toMatchObject({ sentAt: now, expiresAt: afterADay(now), status: 'EXPIRED' })
    const live = await workspace.make(path, { flowToken: nextToken() })
    expect((await workspace.patch(`${path}/${live.id}`, { sentAt: longAgo })).body.status).toBe('EXPIRED')
  })

  test('a phone number finds its client or makes it, and stands beside no client id', async () => {
    const phoneNumber = nextPhoneNumber()
    const { id } = await workspace.make(path, { flowToken: nextToken(), clientId: records.clientId })
    const { clientId } = (await workspace.patch(`${path}/${id}`, { phoneNumber })).body
    expect((await workspace.get(`/v1/clients/${clientId}`)).body.phoneNumber).toBe(phoneNumber)
    const other = await workspace.make(path, { flowToken: nextToken() })
    expect((await workspace.patch(`${path}/${other.id}`, { phoneNumber })).body.clientId).toBe(clientId)
    for (const owner of [null, clientId]) {
      const both = await workspace.patch(`${path}/${id}`, { phoneNumber, clientId: owner })
      expect([both.status, both.body.errors]).toMatchObject([400, [{ path: 'phoneNumber' }]])
    }
    const nobody = nextPhoneNumber()
    expect((await workspace.patch(`${path}/${newId('flowResponse')}`, { phoneNumber: nobody })).status).toBe(404)
    expect(await api.database.sql`select from clients where phone_number = ${nobody}`).toHaveLength(0)
  })

  test.each(['status', 'openedAt', 'completedAt', 'flowToken', 'sendStatus'])(
    '400 for %s, which is not the tenant\u2019s to change',
    async (member) => {
      const made = await workspace.make(path, { flowToken: nextToken() })
      const answer = await workspace.patch(`${path}/${made.id}`, { [member]: 'COMPLETED' })
      expect(answer.status).toBe(400)
      expect(answer.body.errors).toEqual([{ path: member, message: 'is not known here' }])
    },
  )

  test('400 for an end that is null, 404 for links to nothing', async () => {
    const made = await workspace.make(path, { flowToken: nextToken() })
    expect((await workspace.patch(`${path}/${made.id}`, { expiresAt: null })).status).toBe(400)
    for (const member of ['flowId', 'clientId', 'conversationId', 'channelId']) {
      const answer = await workspace.patch(`${path}/${made.id}`, { [member]: 'nothing' })
      expect(answer.status).toBe(404)
      expect(answer.body.detail).toContain(member)
    }
    expect((await workspace.patch(`${path}/${newId('flowResponse')}`, {})).status).toBe(404)
  })

  test('405 for DELETE: a flow response goes with its client', async () => {
    const made = await workspace.make(path, { flowToken: nextToken() })
    expect((await workspace.remove(`${path}/${made.id}`)).status).toBe(405)
  })
})
