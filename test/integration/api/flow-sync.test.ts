import { describe, expect, test, vi } from 'vitest'
import { storeFlowStatuses } from '../../../src/storage/flow-notices.ts'
import { mostFlows } from '../../../src/storage/flows.ts'
import { answerChanged, answerWith, refuse, sendJson } from '../../support/graph.ts'
import { startApi } from './api-app.ts'
import { apiWithGraph } from './graph-api.ts'
import { fillWithFlows, nextNumber } from './samples.ts'

const under = apiWithGraph()
const sync = (wabaId: string) => under.send('POST', '/v1/flows/sync', { wabaId })
const none = { created: 0, updated: 0, unchanged: 0, failed: [] }

const flowJson = {
  version: '7.1',
  data_api_version: '3.0',
  zebra: 1,
  alpha: { text: 'ñ\u0000' },
  screens: [{ id: 'OFFER' }, { id: 'DONE' }],
  routing_model: { OFFER: ['DONE'] },
}
const health = { can_send_message: 'LIMITED', entities: [{ entity_type: 'FLOW', can_send_message: 'LIMITED' }] }

/** The flows of a WABA as the API gives them, by Meta's id. */
async function flowsOf(wabaId: string) {
  const { body } = await under.workspace.get('/v1/flows?limit=100')
  const ofWaba = body.data.filter((flow: { wabaId: string }) => flow.wabaId === wabaId)
  return new Map<string, Record<string, unknown>>(ofWaba.map((flow: { metaFlowId: string }) => [flow.metaFlowId, flow]))
}

test('makes the flows of all pages, with all that Meta tells of them', async () => {
  const { wabaId } = await under.makeWaba()
  under.fake.model.pageSize = 2
  const ids = [nextNumber(), nextNumber(), nextNumber(), nextNumber(), nextNumber()]
  for (const id of ids) under.fake.model.addFlow(wabaId, id)
  const [told = ''] = ids
  under.fake.model.addFlow(wabaId, told, {
    name: 'Offer',
    status: 'THROTTLED',
    categories: ['SURVEY', 'OTHER'],
    json_version: '7.1',
    data_api_version: '3.0',
    endpoint_uri: 'https://elsewhere.test/data',
    health_status: health,
    validation_errors: [{ error: 'INVALID_PROPERTY', line_start: 3 }],
    flowJson: JSON.stringify(flowJson),
  })
  const before = under.api.changed.length
  const answer = await sync(wabaId)
  expect([answer.status, answer.body]).toEqual([200, { ...none, created: 5 }])
  expect(under.fake.callsOf('GET /:id/flows')).toHaveLength(3)
  expect(under.api.changed.slice(before)).toEqual([under.workspace.id])
  const flows = await flowsOf(wabaId)
  expect([...flows.keys()].sort()).toEqual(ids.sort())
  expect(flows.get(told)).toEqual({
    id: expect.stringMatching(/^flow_/),
    wabaId,
    metaFlowId: told,
    name: 'Offer',
    status: 'THROTTLED',
    categories: ['SURVEY', 'OTHER'],
    dataApiVersion: '3.0',
    endpointUri: 'https://elsewhere.test/data',
    jsonVersion: '7.1',
    screens: ['OFFER', 'DONE'],
    refuseClosedTokens: null,
    healthStatus: health,
    validationErrors: [{ error: 'INVALID_PROPERTY', line_start: 3 }],
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
    lastSyncAt: expect.any(String),
  })
  const read = await under.workspace.get(`/v1/flows/${flows.get(told)?.id}`)
  expect(JSON.stringify(read.body.flowJson)).toBe(JSON.stringify(flowJson))
  const [row] = await under.api.database.sql`select first_screen from flows where id = ${read.body.id}`
  expect(row?.first_screen).toBe('OFFER')
})

test('brings flows to what Meta tells; those that do not differ keep their updatedAt', async () => {
  const { wabaId } = await under.makeWaba()
  const [same, other, mine] = [nextNumber(), nextNumber(), nextNumber()]
  const made = { flowJson: JSON.stringify(flowJson), health_status: health }
  under.fake.model.addFlow(wabaId, same, made)
  const changing = under.fake.model.addFlow(wabaId, other, made)
  await under.workspace.make('/v1/flows', { wabaId, metaFlowId: mine, name: 'by hand', flowJson })
  under.fake.model.addFlow(wabaId, mine)
  expect((await sync(wabaId)).body).toEqual({ ...none, created: 2, updated: 1 })
  const before = await flowsOf(wabaId)
  // What Meta has no asset for stays as it was given here.
  expect(before.get(mine)).toMatchObject({ name: `flow ${mine}`, screens: ['OFFER', 'DONE'], jsonVersion: '7.1' })

  Object.assign(changing, { status: 'BLOCKED', health_status: { ...health, can_send_message: 'BLOCKED' } })
  expect((await sync(wabaId)).body).toEqual({ ...none, updated: 1, unchanged: 2 })
  const after = await flowsOf(wabaId)
  expect(after.get(other)).toMatchObject({ status: 'BLOCKED', healthStatus: { can_send_message: 'BLOCKED' } })
  expect(after.get(other)?.updatedAt).not.toBe(before.get(other)?.updatedAt)
  expect(after.get(same)?.updatedAt).toBe(before.get(same)?.updatedAt)
  expect(String(after.get(same)?.lastSyncAt) > String(before.get(same)?.lastSyncAt)).toBe(true)
})

test('a change of the Flow JSON alone is one, and a flow that Meta no longer lists is kept', async () => {
  const { wabaId } = await under.makeWaba()
  const [edited, deleted] = [nextNumber(), nextNumber()]
  const row = under.fake.model.addFlow(wabaId, edited, { flowJson: JSON.stringify(flowJson) })
  under.fake.model.addFlow(wabaId, deleted)
  await sync(wabaId)
  row.flowJson = JSON.stringify({ ...flowJson, screens: [{ id: 'NEW' }], routing_model: {} })
  under.fake.model.flows.delete(deleted)
  expect((await sync(wabaId)).body).toEqual({ ...none, updated: 1 })
  const flows = await flowsOf(wabaId)
  expect(flows.get(edited)).toMatchObject({ screens: ['NEW'] })
  expect(flows.has(deleted)).toBe(true)
})

test('a Flow JSON that is stored is not parsed again to be compared', async () => {
  const { wabaId } = await under.makeWaba()
  const marked = { ...flowJson, alpha: 'a text that no other has' }
  under.fake.model.addFlow(wabaId, nextNumber(), { flowJson: JSON.stringify(marked) })
  const parse = vi.spyOn(JSON, 'parse')
  const parsedBySync = async () => {
    parse.mockClear()
    const { body } = await sync(wabaId)
    return { body, times: parse.mock.calls.filter(([text]) => text.includes(marked.alpha)).length }
  }
  // The server that plays Meta parses it too.
  const { times } = await parsedBySync()
  expect(await parsedBySync()).toEqual({ body: { ...none, unchanged: 1 }, times })
  parse.mockRestore()
})

test('a Flow JSON over the bounds is kept and tells nothing', async () => {
  const { wabaId } = await under.makeWaba()
  const id = nextNumber()
  const large = { ...flowJson, screens: Array(1001).fill({ id: 'A' }) }
  under.fake.model.addFlow(wabaId, id, { json_version: '7.1', flowJson: JSON.stringify(large) })
  expect((await sync(wabaId)).body).toEqual({ ...none, created: 1 })
  const flow = (await flowsOf(wabaId)).get(id)
  expect(flow).toMatchObject({ name: `flow ${id}`, jsonVersion: '7.1', screens: null })
  expect((await under.workspace.get(`/v1/flows/${flow?.id}`)).body.flowJson).toEqual(large)
})

test('flows beyond what a WABA may have are left out and named; those there are go on being synced', async () => {
  const { wabaId } = await under.makeWaba()
  const flow = await under.makeFlow(wabaId)
  await fillWithFlows(under.api, flow, mostFlows)
  const beyond = nextNumber()
  under.fake.model.addFlow(wabaId, beyond)
  const { body } = await sync(wabaId)
  const problem = { code: 'limit_reached', retryable: false }
  expect(body).toMatchObject({ created: 0, updated: 1, failed: [{ metaFlowId: beyond, step: 'flow', problem }] })
  // Deleted here, it makes room.
  expect((await under.workspace.remove(`/v1/flows/${flow.id}`)).status).toBe(204)
  under.fake.model.flows.delete(flow.metaFlowId)
  expect((await sync(wabaId)).body).toEqual({ ...none, created: 1 })
})

test('a flow of a WABA that has more than it may, as one that was moved can, is brought up to date', async () => {
  const { wabaId } = await under.makeWaba()
  const metaFlowId = nextNumber()
  const atMeta = under.fake.model.addFlow(wabaId, metaFlowId, { flowJson: JSON.stringify(flowJson) })
  expect((await sync(wabaId)).body).toEqual({ ...none, created: 1 })
  const flow = (await flowsOf(wabaId)).get(metaFlowId)
  await fillWithFlows(under.api, { id: String(flow?.id) }, mostFlows + 1)
  atMeta.status = 'PUBLISHED'
  expect((await sync(wabaId)).body).toEqual({ ...none, updated: 1 })
})

describe('what cannot be read whole', () => {
  test('is named with its step; the rest is synced', async () => {
    const { wabaId } = await under.makeWaba()
    const [good, unread, jsonless] = [nextNumber(), nextNumber(), nextNumber()]
    under.fake.model.addFlow(wabaId, good)
    under.fake.model.addFlow(wabaId, unread)
    const row = under.fake.model.addFlow(wabaId, jsonless, { flowJson: JSON.stringify(flowJson) })
    expect((await sync(wabaId)).body).toEqual({ ...none, created: 3 })
    row.status = 'PUBLISHED'
    // Both answer for whichever flow comes first, so they look which it is.
    for (let times = 0; times < 3; times++) {
      under.fake.next('GET /:id', (answering) =>
        answering.call.path === `/${unread}`
          ? refuse(2, { status: 503 })(answering)
          : answerChanged((it) => it)(answering),
      )
    }
    under.fake.next('GET /download/:id', answerWith('<html>', 403))
    const { body } = await sync(wabaId)
    expect(body).toMatchObject({ created: 0, updated: 1, unchanged: 1 })
    const byId = new Map(body.failed.map((it: { metaFlowId: string }) => [it.metaFlowId, it]))
    expect(byId.get(unread)).toMatchObject({ step: 'flow', problem: { metaCode: 2, retryable: true } })
    expect(byId.get(jsonless)).toMatchObject({ step: 'flow_json', problem: { code: 'graph_unreachable' } })
    expect(body.failed).toHaveLength(2)
    expect((await flowsOf(wabaId)).get(jsonless)).toMatchObject({ status: 'PUBLISHED', screens: ['OFFER', 'DONE'] })
  })

  test('a Flow JSON of more than 200,000 values is not read; what was stored of it stays', async () => {
    const { wabaId } = await under.makeWaba()
    const id = nextNumber()
    const row = under.fake.model.addFlow(wabaId, id, { flowJson: JSON.stringify(flowJson) })
    await sync(wabaId)
    row.flowJson = JSON.stringify({ ...flowJson, zebra: Array(100_000).fill([]) })
    const failed = [{ metaFlowId: id, step: 'flow_json', problem: { code: 'graph_unreachable', retryable: false } }]
    expect((await sync(wabaId)).body).toMatchObject({ unchanged: 1, failed })
    const flow = (await flowsOf(wabaId)).get(id)
    expect((await under.workspace.get(`/v1/flows/${flow?.id}`)).body.flowJson).toEqual(flowJson)
  })

  test('a Flow JSON is fetched from nowhere inside', async () => {
    const { wabaId } = await under.makeWaba()
    const id = nextNumber()
    under.fake.model.addFlow(wabaId, id)
    const download_url = 'http://169.254.169.254/latest/meta-data'
    under.fake.next('GET /:id/assets', answerWith({ data: [{ asset_type: 'FLOW_JSON', download_url }] }))
    const { body, text } = await sync(wabaId)
    expect(body).toMatchObject({ created: 1, failed: [{ metaFlowId: id, step: 'flow_json' }] })
    expect(text).not.toContain('169.254')
  })

  test.each([
    ['says nothing yet', {}],
    ['has screens that are no screens', { version: '7.1', screens: 'x' }],
    ['has a screen that no database holds', { version: '7.1', screens: [{ id: 'A\0' }] }],
  ])('a Flow JSON that %s is kept as it is', async (_name, odd) => {
    const { wabaId } = await under.makeWaba()
    const id = nextNumber()
    under.fake.model.addFlow(wabaId, id, { name: 'N\0', status: 'LATER', flowJson: JSON.stringify(odd) })
    expect((await sync(wabaId)).body).toEqual({ ...none, created: 1 })
    const flow = (await flowsOf(wabaId)).get(id)
    expect(flow).toMatchObject({ name: 'N\uFFFD', status: null, screens: null, jsonVersion: null })
    expect((await under.workspace.get(`/v1/flows/${flow?.id}`)).body.flowJson).toEqual(odd)
    expect((await sync(wabaId)).body).toEqual({ ...none, unchanged: 1 })
  })
})

test('nothing changes where the list fails on its last page', async () => {
  const { wabaId } = await under.makeWaba()
  under.fake.model.pageSize = 1
  for (const id of [nextNumber(), nextNumber()]) under.fake.model.addFlow(wabaId, id)
  under.fake.next(
    'GET /:id/flows',
    answerChanged((it) => it),
    refuse(80007),
  )
  const answer = await sync(wabaId)
  expect([answer.status, answer.body.code, answer.body.metaCode]).toEqual([502, 'graph_error', 80007])
  expect(await flowsOf(wabaId)).toEqual(new Map())
  under.fake.model.pageSize = 100
})

test('two at once make each flow once', async () => {
  const { wabaId } = await under.makeWaba()
  for (const id of [nextNumber(), nextNumber(), nextNumber()]) under.fake.model.addFlow(wabaId, id)
  const [one, two] = await Promise.all([sync(wabaId), sync(wabaId)])
  expect(one.body.created + two.body.created).toBe(3)
  expect(one.body.unchanged + two.body.unchanged).toBe(3)
})

test('409 without an access token; 504 where Meta does not answer; 502 where it is away', async () => {
  const { wabaId } = await under.workspace.make('/v1/wabas', { wabaId: nextNumber() })
  expect((await sync(wabaId)).body).toMatchObject({ status: 409, code: 'access_token_missing' })
  const known = await under.makeWaba()
  under.fake.next('GET /:id/flows', () => undefined)
  expect((await sync(known.wabaId)).body).toMatchObject({ status: 504, code: 'graph_timeout', retryable: true })
  const away = await startApi()
  const workspace = await away.makeWorkspace()
  await workspace.make('/v1/wabas', { wabaId: '1', accessToken: 'EAAx' })
  expect((await workspace.post('/v1/flows/sync', { wabaId: '1' })).body).toMatchObject({
    status: 502,
    code: 'graph_unreachable',
  })
  await away.close()
})

test('a notice of Meta that is older than what it was asked for does not undo it', async () => {
  const { wabaId } = await under.makeWaba()
  const metaFlowId = nextNumber()
  under.fake.model.addFlow(wabaId, metaFlowId, { status: 'PUBLISHED' })
  const notice = (status: string, at: number) =>
    under.api.database.sql.begin((tx) =>
      storeFlowStatuses(
        tx,
        under.workspace.id,
        [{ wabaId, metaFlowId, cameFrom: [], status, at: new Date(at) }],
        new Date(),
      ),
    )
  const statusOf = async () => (await flowsOf(wabaId)).get(metaFlowId)?.status
  // One that is made, and one that is brought up to date.
  for (const status of ['PUBLISHED', 'DEPRECATED']) {
    const before = Date.now()
    under.fake.model.addFlow(wabaId, metaFlowId, { status })
    await sync(wabaId)
    await notice('DRAFT', before - 1)
    expect(await statusOf()).toBe(status)
  }
  await notice('BLOCKED', Date.now() + 1)
  expect(await statusOf()).toBe('BLOCKED')
})

describe('a notice of Meta, whose time has whole seconds', () => {
  async function draft() {
    const { wabaId } = await under.makeWaba()
    const metaFlowId = nextNumber()
    const flow = under.fake.model.addFlow(wabaId, metaFlowId, { status: 'DRAFT', flowJson: JSON.stringify(flowJson) })
    await sync(wabaId)
    const statusAt = async () => {
      const [row] = await under.api.database.sql`select status_at from flows where meta_flow_id = ${metaFlowId}`
      return row?.status_at as Date
    }
    const notice = (from: string | null, status: string, at: Date) => {
      const second = new Date(Math.floor(at.getTime() / 1000) * 1000)
      const notices = [{ wabaId, metaFlowId, cameFrom: from === null ? [] : [from], status, at: second }]
      return under.api.database.sql.begin((tx) => storeFlowStatuses(tx, under.workspace.id, notices, new Date()))
    }
    return { wabaId, flow, notice, statusAt, status: async () => (await flowsOf(wabaId)).get(metaFlowId)?.status }
  }

  test('is not undone by a sync that read the flow before', async () => {
    const { wabaId, flow, notice, status } = await draft()
    under.fake.next('GET /:id/assets', async ({ response, standard }) => {
      flow.status = 'PUBLISHED'
      await notice('DRAFT', 'PUBLISHED', new Date())
      sendJson(response, 200, standard())
    })
    await sync(wabaId)
    expect(await status()).toBe('PUBLISHED')
    // Nor does it stay for ever.
    flow.status = 'DEPRECATED'
    await sync(wabaId)
    expect(await status()).toBe('DEPRECATED')
  })

  test('is stored in the second of a sync where the flow came from what that found', async () => {
    const { notice, status, statusAt } = await draft()
    await notice(null, 'BLOCKED', await statusAt())
    expect(await status()).toBe('DRAFT')
    await notice('DRAFT', 'PUBLISHED', await statusAt())
    expect(await status()).toBe('PUBLISHED')
  })
})
