import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { newId } from '../../../src/domain/ids.ts'
import { rollUp } from '../../../src/storage/stats-roll-up.ts'
import { adminToken, type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { insertExchange, nextNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
})
beforeEach(async () => {
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

type Row = Parameters<typeof insertExchange>[2]
const insert = async (count: number, row: Row) => {
  for (let i = 0; i < count; i++) await insertExchange(api, workspace, { event: 'whatsapp.flows.init', ...row })
}
const stats = async (query = ''): Promise<Json> => {
  const { status, body, text } = await workspace.get(`/v1/stats${query}`)
  expect(status, text).toBe(200)
  return body
}
const within = (value: number, wanted: number) => expect(Math.abs(value - wanted)).toBeLessThanOrEqual(wanted * 0.011)

test('nothing yet: the last 24 hours to five minutes, and Meta’s thresholds', async () => {
  const body = await stats()
  const [since, until] = [Date.parse(body.since), Date.parse(body.until)]
  expect([until - since, until % 300_000]).toEqual([86_400_000, 0])
  expect(until).toBeGreaterThanOrEqual(Date.now() - 1000)
  expect(until).toBeLessThanOrEqual(Date.now() + 300_000)
  const nothing = { p50: null, p90: null, p99: null }
  expect(body).toMatchObject({ exchanges: 0, outcomes: {}, fallbackRate: null, total: nothing, webhook: nothing })
  expect(body.thresholds).toEqual({ p90Ms: [1000, 5000, 7000], errorRate: [0.05, 0.1, 0.5], availability: 0.9 })
  expect(body.webhooks).toEqual([])
  expect(body.verdict).toMatchObject({ verdict: 'no_calls', flowStatus: null })
})

test('outcomes, the fallback rate, and percentiles of what Meta waited and of the webhook', async () => {
  const [webhookId, flowId] = [newId('webhook'), newId('flow')]
  await insert(9, { outcome: 'replied', webhookId, flowId, durationMs: 100, webhookMs: 90 })
  await insert(1, { outcome: 'bad_status', webhookId, durationMs: 500, webhookMs: 490 })
  await insert(5, { outcome: 'answered_locally', event: null, durationMs: 1 })
  await insert(1, { outcome: 'undecryptable', event: null, durationMs: 2 })
  await insert(2, { outcome: 'breaker_open', webhookId, durationMs: 3 })
  await insert(1, { outcome: null, webhookId })
  await insert(1, { outcome: 'internal_error', reason: 'interrupted' })
  const body = await stats()
  expect(body).toMatchObject({
    exchanges: 19,
    outcomes: {
      replied: 9,
      bad_status: 1,
      answered_locally: 5,
      undecryptable: 1,
      breaker_open: 2,
      internal_error: 1,
    },
    fallbackRate: 0.3077,
    webhooks: [{ webhookId, exchanges: 12, timeouts: 0, lateReplies: 0, unheard: 0 }],
  })
  // 18 durations: 5 of 1 ms, 1 of 2, 2 of 3, 9 of 100, 1 of 500.
  within(body.total.p50, 100)
  within(body.total.p90, 100)
  within(body.total.p99, 500)
  within(body.webhook.p50, 90)
  within(body.webhook.p99, 490)
  within(body.webhooks[0].p90, 90)
  within(body.webhooks[0].p95, 490)
})

test('a webhook’s late replies count at the time they took, other timeouts at the deadline', async () => {
  const [late, quick] = [newId('webhook'), newId('webhook')]
  const timeout = { outcome: 'timeout', webhookId: late, durationMs: 704, webhookMs: 700.4 } as const
  await insert(90, { outcome: 'replied', webhookId: late, durationMs: 104, webhookMs: 100 })
  await insert(8, { ...timeout, lateReplyMs: 830 })
  await insert(2, timeout)
  await insert(3, { outcome: 'replied', webhookId: quick, durationMs: 9, webhookMs: 5 })
  const { webhooks, total } = await stats()
  expect(webhooks).toMatchObject([
    { webhookId: late, exchanges: 100, timeouts: 10, lateReplies: 8, unheard: 2 },
    { webhookId: quick, exchanges: 3, timeouts: 0, lateReplies: 0, unheard: 0 },
  ])
  within(webhooks[0].p90, 100)
  within(webhooks[0].p95, 830)
  within(webhooks[1].p99, 5)
  within(total.p99, 704)
})

test('since and until to five minutes, of rows and of what is rolled up', async () => {
  // Rows are told apart by the time that their ids begin with.
  const now = Math.floor(Date.now() / 300_000) * 300_000
  const at = (ms: number) => uuidAt(now - 3_600_000 + ms)
  for (const ms of [-1, 0, 299_999, 300_000]) await insert(1, { id: at(ms), outcome: 'replied' })
  const query = (from: number, to: number) =>
    `?since=${new Date(now - 3_600_000 + from).toISOString()}&until=${new Date(now - 3_600_000 + to).toISOString()}`
  const frontier = new Date(now - 3_600_000 - 300_000)
  await api.database.sql`update exchange_stats_frontier set rolled_up_until = ${frontier}`
  const expectCounts = async () => {
    const counted = async (from: number, to: number) => (await stats(query(from, to))).exchanges
    expect(await counted(0, 300_000)).toBe(2)
    expect(await counted(1, 299_999)).toBe(2)
    expect(await counted(-1, 300_000)).toBe(3)
    expect(await counted(0, 300_001)).toBe(3)
  }
  await expectCounts()
  while ((await rollUp(api.database.work, new Date())).isBehind);
  await expectCounts()
  const ahead = await stats(`?since=${new Date(now).toISOString()}&until=2990-01-01T00:00:00Z`)
  expect(Date.parse(ahead.until)).toBeLessThanOrEqual(Date.now() + 300_000)
  const future = await stats('?since=2989-01-01T00:00:00Z&until=2990-01-01T00:00:00Z')
  expect(future).toMatchObject({ exchanges: 0, since: future.until })
})

test('of one flow, also of one that is gone; of another workspace nothing', async () => {
  const flowId = newId('flow')
  await insert(2, { outcome: 'replied', flowId, durationMs: 10 })
  await insert(3, { outcome: 'replied', durationMs: 10 })
  expect(await stats(`?flowId=${flowId}`)).toMatchObject({ exchanges: 2, outcomes: { replied: 2 } })
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const quiet = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  expect(await stats(`?flowId=${quiet.id}`)).toMatchObject({ exchanges: 0 })
  const stranger = await api.makeWorkspace()
  expect((await stranger.get('/v1/stats')).body).toMatchObject({ exchanges: 0, webhooks: [] })
  expect((await stranger.get(`/v1/stats?flowId=${flowId}`)).status).toBe(404)
  const headers = { 'X-Workspace-Id': workspace.id }
  const asOperator = await api.call('GET', '/v1/stats', { token: adminToken, headers })
  expect(asOperator.body).toMatchObject({ exchanges: 5 })
})

test('a flow\u2019s verdict is of the half hour before the end, and says what Meta has done', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const { id: flowId } = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  const now = Math.floor(Date.now() / 300_000) * 300_000
  // Read from the rows: another test may have had all rolled up.
  const frontier = new Date(now - 40 * 60_000)
  await api.database.sql`update exchange_stats_frontier set rolled_up_until = ${frontier}`
  const minutesAgo = (minutes: number) => uuidAt(now - minutes * 60_000)
  const good = { outcome: 'replied', flowId, durationMs: 100 } as const
  for (let i = 0; i < 8; i++) await insert(1, { ...good, id: minutesAgo(20) })
  for (let i = 0; i < 2; i++) await insert(1, { ...good, durationMs: 1500, id: minutesAgo(15) })
  // Longer ago, and of other flows: they do not count.
  for (let i = 0; i < 20; i++) await insert(1, { ...good, durationMs: 9000, id: minutesAgo(35) })
  for (let i = 0; i < 5; i++) await insert(1, { ...good, flowId: newId('flow'), durationMs: 9000, id: minutesAgo(20) })
  const until = new Date(now).toISOString()
  const verdict = async () => (await stats(`?flowId=${flowId}&until=${until}`)).verdict
  const slow = await verdict()
  within(slow.checks[0].value, 1500)
  expect(slow).toMatchObject({
    verdict: 'over_threshold',
    flowStatus: null,
    checks: [
      { figure: 'p90Ms', result: 'over_threshold', windowMinutes: 30, atRisk: 800, metaThresholds: [1000, 5000, 7000] },
      {
        figure: 'errorRate',
        result: 'ok',
        value: 0,
        windowMinutes: 30,
        atRisk: 0.03,
        metaThresholds: [0.05, 0.1, 0.5],
      },
      {
        figure: 'availability',
        result: 'no_calls',
        value: null,
        windowMinutes: 10,
        atRisk: 0.95,
        metaThresholds: [0.9],
      },
      { figure: 'fallbackRate', result: 'ok', value: 0, windowMinutes: 30, atRisk: 0.03, metaThresholds: [] },
    ],
  })
  // A process died in the middle of one: no answer, no time.
  await insert(1, { outcome: 'internal_error', reason: 'interrupted', flowId, id: minutesAgo(5) })
  expect((await verdict()).checks).toMatchObject([
    {},
    { result: 'over_threshold', value: 0.0909 },
    { result: 'over_threshold', value: 0 },
    { result: 'at_risk', value: 0.0909 },
  ])
  for (const [status, expected] of [
    ['THROTTLED', 'throttled'],
    ['BLOCKED', 'blocked'],
    ['PUBLISHED', 'over_threshold'],
  ]) {
    await api.database.sql`update flows set status = ${status ?? null} where id = ${flowId}`
    expect(await verdict()).toMatchObject({ verdict: expected, flowStatus: status })
  }
})

test('a time that ends before it begins is refused', async () => {
  for (const until of ['2026-05-06T19:00:00Z', '2026-05-06T18:00:00Z']) {
    const { status, body } = await workspace.get(`/v1/stats?since=2026-05-06T19:00:00Z&until=${until}`)
    expect([status, body.errors]).toEqual([400, [{ path: 'until', message: 'must be later than since' }]])
  }
})

function uuidAt(unixMs: number): string {
  const hex = unixMs.toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${Math.random().toString(16).slice(2, 14).padEnd(12, '0')}`
}
