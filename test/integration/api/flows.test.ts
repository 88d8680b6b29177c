import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../../src/domain/ids.ts'
import { mostFlows, mostScreens } from '../../../src/storage/flows.ts'
import { startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { channelInput, fillWithFlows, nextNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let wabaId: string

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  wabaId = (await workspace.make('/v1/wabas', { wabaId: nextNumber() })).wabaId
})
afterAll(() => api.close())

const flowJson = {
  version: '7.1',
  zebra: { b: 1, a: '\u0000 and \ud83e\udd8a' },
  screens: [
    { id: 'OFFER', title: 'Offer', layout: { type: 'SingleColumnLayout', children: [] } },
    { id: 'START', title: 'Start', data: {} },
  ],
  data_api_version: '3.0',
  routing_model: { START: ['OFFER'], OFFER: [] },
}

test('reads screens and versions out of the Flow JSON, and keeps it as it came', async () => {
  const metaFlowId = nextNumber()
  const told = api.changed.length
  const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId, name: 'Quote', flowJson, status: 'PUBLISHED' })
  expect(flow).toEqual({
    id: expect.stringMatching(/^flow_/),
    wabaId,
    metaFlowId,
    name: 'Quote',
    status: 'PUBLISHED',
    categories: null,
    dataApiVersion: '3.0',
    endpointUri: null,
    jsonVersion: '7.1',
    screens: ['OFFER', 'START'],
    refuseClosedTokens: null,
    healthStatus: null,
    validationErrors: null,
    createdAt: expect.any(String),
    updatedAt: flow.createdAt,
    lastSyncAt: null,
  })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  const read = await workspace.get(`/v1/flows/${flow.id}`)
  expect(read.body).toEqual({ ...flow, flowJson })
  expect(JSON.stringify(read.body.flowJson)).toBe(JSON.stringify(flowJson))
  expect((await workspace.get('/v1/flows')).body.data).toEqual([flow])
  const [row] = await api.database.sql`select first_screen from flows where id = ${flow.id}`
  expect(row?.first_screen).toBe('START')
})

test('what the body says itself goes before what the Flow JSON tells', async () => {
  const body = { wabaId, metaFlowId: nextNumber(), flowJson, dataApiVersion: '4.0', jsonVersion: '7.2' }
  expect(await workspace.make('/v1/flows', body)).toMatchObject({ dataApiVersion: '4.0', jsonVersion: '7.2' })
})

test('a Flow JSON is given as its stored text, unread: 10 MB of it would hold the event loop', async () => {
  const { id } = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber(), flowJson })
  const stored = '{ "version": "7.1", "n": 1.0, "n": 12345678901234567890 }'
  await api.database.sql`update flows set flow_json = ${stored}::text::json where id = ${id}`
  const { text, body } = await workspace.get(`/v1/flows/${id}`)
  expect(text.endsWith(`,"flowJson":${stored}}`)).toBe(true)
  expect(body).toMatchObject({ id, wabaId, flowJson: { version: '7.1' } })
})

test('takes a Flow JSON of 10 MB', async () => {
  const large = { ...flowJson, filler: 'x'.repeat(10_000_000) }
  const { id } = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber(), flowJson: large })
  expect((await workspace.get(`/v1/flows/${id}`)).body.flowJson).toEqual(large)
})

test.each([
  ['no object', 'text', 'flowJson'],
  ['no screens', { version: '7.1' }, 'flowJson.screens'],
  ['an empty list of screens', { version: '7.1', screens: [] }, 'flowJson.screens'],
  ['a screen without an id', { version: '7.1', screens: [{}] }, 'flowJson.screens.0.id'],
  ['more screens than are read', { version: '7.1', screens: Array(60_000).fill({ id: '' }) }, 'flowJson.screens'],
  ['a screen id of 201 characters', { version: '7.1', screens: [{ id: 'A'.repeat(201) }] }, 'flowJson.screens.0.id'],
  [
    'more routes than are read',
    { version: '7.1', screens: [{ id: 'A' }], routing_model: { A: Array(150_000).fill(5) } },
    'flowJson.routing_model',
  ],
  ['NUL in a screen id', { version: '7.1', screens: [{ id: 'A\0' }] }, 'flowJson'],
  ['a version that is a number', { version: 7.1, screens: [{ id: 'A' }] }, 'flowJson.version'],
])('400 for a Flow JSON with %s', async (_name, document, path) => {
  const answer = await workspace.post('/v1/flows', { wabaId, metaFlowId: nextNumber(), flowJson: document })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toMatchObject([{ path }])
})

test('409 for a second flow with the same ids; the same Meta id under another WABA is another flow', async () => {
  const metaFlowId = nextNumber()
  await workspace.make('/v1/flows', { wabaId, metaFlowId })
  const second = await workspace.post('/v1/flows', { wabaId, metaFlowId })
  expect(second.status).toBe(409)
  expect(second.body.code).toBe('already_exists')
  const other = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  expect((await workspace.post('/v1/flows', { wabaId: other.wabaId, metaFlowId })).status).toBe(201)
})

test('409 for one more than a WABA may have; those there are can be changed', async () => {
  const full = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const flow = await workspace.make('/v1/flows', { wabaId: full.wabaId, metaFlowId: nextNumber() })
  await fillWithFlows(api, flow, mostFlows - 1)
  const make = () => workspace.post('/v1/flows', { wabaId: full.wabaId, metaFlowId: nextNumber() })
  expect((await make()).status).toBe(201)
  expect(await make()).toMatchObject({ status: 409, body: { code: 'limit_reached' } })
  expect((await workspace.patch(`/v1/flows/${flow.id}`, { name: 'Other' })).status).toBe(200)
  await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
})

test('409 for more screens than all flows of a workspace may have; what is stored can be changed', async () => {
  const own = await api.makeWorkspace()
  const ofOwn = (await own.make('/v1/wabas', { wabaId: nextNumber() })).wabaId
  const flow = await own.make('/v1/flows', { wabaId: ofOwn, metaFlowId: nextNumber() })
  await api.database.sql`update flows set screens = array_fill('A'::text, array[${mostScreens}::int])
    where workspace_id = ${own.id} and id = ${flow.id}`
  const more = { wabaId: ofOwn, metaFlowId: nextNumber(), flowJson }
  expect(await own.post('/v1/flows', more)).toMatchObject({ status: 409, body: { code: 'limit_reached' } })
  expect((await own.patch(`/v1/flows/${flow.id}`, { name: 'Other' })).status).toBe(200)
  const other = await own.make('/v1/flows', { wabaId: ofOwn, metaFlowId: nextNumber() })
  expect((await own.patch(`/v1/flows/${other.id}`, { flowJson })).body.code).toBe('limit_reached')
  expect((await own.patch(`/v1/flows/${flow.id}`, { flowJson })).status).toBe(200)
  expect((await own.patch(`/v1/flows/${other.id}`, { flowJson })).status).toBe(200)
})

test('past both bounds, as a WABA that was moved may be, a Flow JSON of no more screens is taken', async () => {
  const own = await api.makeWorkspace()
  const ofOwn = (await own.make('/v1/wabas', { wabaId: nextNumber() })).wabaId
  const flow = await own.make('/v1/flows', { wabaId: ofOwn, metaFlowId: nextNumber(), flowJson })
  await fillWithFlows(api, flow, mostFlows + 1)
  const large = await own.make('/v1/wabas', { wabaId: nextNumber() })
  const { id } = await own.make('/v1/flows', { wabaId: large.wabaId, metaFlowId: nextNumber() })
  await api.database.sql`update flows set screens = array_fill('A'::text, array[${mostScreens}::int])
    where workspace_id = ${own.id} and id = ${id}`
  const [first, second] = flowJson.screens
  const other = { ...flowJson, screens: [second, first] }
  expect((await own.patch(`/v1/flows/${flow.id}`, { flowJson: other })).status).toBe(200)
  const more = { ...flowJson, screens: [...flowJson.screens, { id: 'MORE' }] }
  expect((await own.patch(`/v1/flows/${flow.id}`, { flowJson: more })).body.code).toBe('limit_reached')
})

describe('PATCH', () => {
  const patch = (id: string, body: unknown) => api.call('PATCH', `/v1/flows/${id}`, { token: workspace.apiKey, body })

  test('changes what is given, null empties', async () => {
    const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber(), name: 'A', flowJson })
    const before = api.changed.length
    const answer = await patch(flow.id, { name: null, status: 'PUBLISHED', categories: ['OTHER'] })
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      ...flow,
      name: null,
      status: 'PUBLISHED',
      categories: ['OTHER'],
      updatedAt: expect.any(String),
    })
    expect(answer.body.updatedAt > flow.updatedAt).toBe(true)
    expect(api.changed.slice(before)).toEqual([workspace.id])
    expect((await workspace.get(`/v1/flows/${flow.id}`)).body).toEqual({ ...answer.body, flowJson })
  })

  test('a Flow JSON brings its screens and versions, and takes them with it', async () => {
    const { id } = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
    expect((await patch(id, { flowJson, jsonVersion: '7.3' })).body).toMatchObject({
      screens: ['OFFER', 'START'],
      dataApiVersion: '3.0',
      jsonVersion: '7.3',
    })
    const [row] = await api.database.sql`select first_screen from flows where id = ${id}`
    expect(row?.first_screen).toBe('START')
    expect((await patch(id, { flowJson: null })).body).toMatchObject({
      screens: null,
      dataApiVersion: null,
      jsonVersion: null,
    })
    expect((await workspace.get(`/v1/flows/${id}`)).body.flowJson).toBeNull()
  })

  test('of nothing changes nothing', async () => {
    const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber(), flowJson })
    expect((await patch(flow.id, {})).body).toEqual({ ...flow, updatedAt: expect.any(String) })
  })

  test.each(['wabaId', 'metaFlowId', 'id'])('400 for %s, which a flow keeps', async (member) => {
    const { id } = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
    const answer = await patch(id, { [member]: '1' })
    expect([answer.status, answer.body.errors[0].path]).toEqual([400, member])
  })

  test('404 for none', async () => {
    expect((await patch(newId('flow'), { name: 'x' })).status).toBe(404)
  })
})

test('DELETE forgets a flow; again it is not there, and its id at Meta can come back', async () => {
  const metaFlowId = nextNumber()
  const { id } = await workspace.make('/v1/flows', { wabaId, metaFlowId })
  const remove = () => api.call('DELETE', `/v1/flows/${id}`, { token: workspace.apiKey })
  const before = api.changed.length
  const answer = await remove()
  expect([answer.status, answer.text]).toEqual([204, ''])
  expect(api.changed.slice(before)).toEqual([workspace.id])
  expect((await remove()).status).toBe(404)
  expect((await workspace.get(`/v1/flows/${id}`)).status).toBe(404)
  expect((await workspace.make('/v1/flows', { wabaId, metaFlowId })).id).not.toBe(id)
})

test('channels are made, read and refused twice', async () => {
  const input = channelInput(wabaId)
  const channel = await workspace.make('/v1/channels', input)
  expect(channel).toEqual({
    id: expect.stringMatching(/^ch_/),
    ...input,
    createdAt: expect.any(String),
    updatedAt: channel.createdAt,
  })
  expect((await workspace.get(`/v1/channels/${channel.id}`)).body).toEqual(channel)
  const second = await workspace.post('/v1/channels', { ...channelInput(wabaId), phoneNumberId: input.phoneNumberId })
  expect(second.status).toBe(409)
  expect(second.body.code).toBe('already_exists')
})

test.each([
  '5215512345678',
  '+521551234',
  '+1234567',
  '+1234567890123456',
  '+52 155 1234 5678',
  '+52155123x567',
  '+5215512345678\n',
])('400 for the phone number %j', async (phoneNumber) => {
  const refused = phoneNumber !== '+521551234'
  const answer = await workspace.post('/v1/channels', { ...channelInput(wabaId), phoneNumber })
  expect(answer.status).toBe(refused ? 400 : 201)
  if (refused) expect(answer.body.errors).toMatchObject([{ path: 'phoneNumber' }])
})
