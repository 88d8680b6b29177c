import { afterAll, beforeAll, expect, test } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
import { ApiError } from '../../../src/domain/errors.ts'
import { newId, newUuid } from '../../../src/domain/ids.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { insertExchange, makeRecords, type Records } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let records: Records

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  records = await makeRecords(api, workspace)
})
afterAll(() => api.close())

const idsOf = async (query: string): Promise<string[]> =>
  (await workspace.get(`/v1/exchanges?${query}`)).body.data.map((item: Json) => item.id)

const timings = { verify: 0.1, decrypt: 0.4, enrich: 1.5, webhook: 20.25, encrypt: 0.1, total: 22.5 }
const attempt = { status: 200, failure: null, durationMs: 20.25, connectMs: 1, headMs: 19, bytes: 120 }

test('a whole exchange: envelope, reply, attempt and timings', async () => {
  const id = newUuid()
  const envelope = { id, event: 'whatsapp.flows.init', zebra: 1, apple: 2 }
  await insertExchange(api, workspace, {
    id,
    createdAt: new Date('2026-05-06T19:00:30.123Z'),
    wabaId: records.wabaId,
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: 'START',
    flowToken: 'token',
    flowTokenDigest: sha256('token'),
    flowId: records.flowId,
    clientId: records.clientId,
    webhookId: records.webhookId,
    outcome: 'replied',
    reason: null,
    durationMs: 22.5,
    webhookMs: 20.25,
    lateReplyMs: null,
    timings,
    attempt,
    envelope: Buffer.from(JSON.stringify(envelope)),
    answer: Buffer.from('{"screen":"NEXT","data":{}}'),
    answerScreen: 'NEXT',
  })
  const summary = {
    id,
    createdAt: '2026-05-06T19:00:30.123Z',
    wabaId: records.wabaId,
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: 'START',
    outcome: 'replied',
    reason: null,
    flowToken: 'token',
    flowId: records.flowId,
    clientId: records.clientId,
    webhookId: records.webhookId,
    durationMs: 22.5,
    webhookMs: 20.25,
    lateReplyMs: null,
  }
  const read = await workspace.get(`/v1/exchanges/${id}`)
  expect(read.body).toEqual({ ...summary, envelope, reply: { screen: 'NEXT', data: {} }, attempt, timings })
  expect(JSON.stringify(read.body.envelope)).toBe(JSON.stringify(envelope))
  expect((await workspace.get('/v1/exchanges?flowToken=token')).body.data).toEqual([summary])
})

test('an open row, and one of Meta\u2019s plain body', async () => {
  const open = await workspace.get(`/v1/exchanges/${await insertExchange(api, workspace, {})}`)
  expect(open.body).toMatchObject({
    outcome: null,
    envelope: null,
    reply: null,
    attempt: null,
    timings: null,
    durationMs: null,
  })
  for (const plain of ['{"action":"INIT","flow_token":"t"}', 'no JSON', '"text"', 'null', '[1]']) {
    const id = await insertExchange(api, workspace, { envelope: Buffer.from(plain), answer: Buffer.from('not JSON') })
    expect((await workspace.get(`/v1/exchanges/${id}`)).body).toMatchObject({ envelope: plain, reply: 'not JSON' })
  }
})

test('filters by outcome, flow token, flow and webhook, and by all together', async () => {
  const flowToken = 'filter \u{1f98a}'
  const members = {
    outcome: 'timeout',
    flowToken,
    flowTokenDigest: sha256(flowToken),
    flowId: records.flowId,
    webhookId: records.webhookId,
  } as const
  const id = await insertExchange(api, workspace, members)
  const whole = `outcome=timeout&flowToken=${encodeURIComponent(flowToken)}&flowId=${records.flowId}&webhookId=${records.webhookId}`
  expect(await idsOf(whole)).toEqual([id])
  expect(await idsOf('outcome=timeout')).toEqual([id])
  expect(await idsOf(`flowId=${records.flowId}&outcome=internal_error`)).toEqual([])
  expect((await workspace.get('/v1/exchanges?outcome=none')).status).toBe(400)
})

test('exchanges of a webhook that is gone can still be asked for', async () => {
  const webhookId = newId('webhook')
  const id = await insertExchange(api, workspace, { webhookId })
  expect(await idsOf(`webhookId=${webhookId}`)).toEqual([id])
})

test('a search that takes too long is ended in the database, and is no reason to doubt its connections', async () => {
  const [answer, running] = await api.database.work.begin(async (held) => {
    await held`lock table exchanges in access exclusive mode`
    const given = await workspace.get('/v1/exchanges?outcome=timeout')
    const [row] = await held`
      select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    return [given, row?.n]
  })
  expect([answer.status, answer.body.code, running]).toEqual([503, 'database_unavailable', 0])
  expect(api.reported.at(-1)?.error).toBeInstanceOf(ApiError)
})

test('since is inclusive, until is not, and a clock that was set back hides nothing', async () => {
  const at = Date.parse('2020-01-01T00:00:00.000Z')
  const insertAt = (ms: number, idMs = ms) =>
    insertExchange(api, workspace, { id: uuidAt(idMs), createdAt: new Date(ms) })
  const ids = [
    await insertAt(at),
    await insertAt(at + 999, at + 30_000),
    await insertAt(at + 1000),
    await insertAt(at + 2000),
  ]
  const time = (ms: number) => encodeURIComponent(new Date(ms).toISOString())
  const span = await idsOf(`since=${time(at)}&until=${time(at + 1000)}`)
  expect(span.toSorted()).toEqual([ids[0], ids[1]].toSorted())
  expect(await idsOf(`since=${time(at + 1000)}&until=${time(at + 1001)}`)).toEqual([ids[2]])
  expect(await idsOf('since=1970-01-01T00:00:00Z&until=1970-01-01T00:00:00.001Z')).toEqual([])
  expect((await workspace.get('/v1/exchanges?since=yesterday')).status).toBe(400)
})

function uuidAt(unixMs: number): string {
  const hex = unixMs.toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}${newUuid().slice(13)}`
}
