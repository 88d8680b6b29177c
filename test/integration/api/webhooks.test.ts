import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSecret } from '../../../src/crypto/sealed-secret.ts'
import { startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextNumber, webhookInput } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

test('a webhook is made with what is usual; its secret is shown once', async () => {
  const { secret, ...webhook } = await workspace.make('/v1/webhooks', webhookInput)
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
  expect(webhook).toEqual({
    id: expect.stringMatching(/^wh_/),
    ...webhookInput,
    active: true,
    headers: [],
    flowIds: null,
    timeoutMs: null,
    fallback: null,
    format: 'envelope',
    breaker: { mode: 'on' },
    signed: true,
    createdAt: expect.any(String),
    updatedAt: webhook.createdAt,
  })
  expect(api.changed.at(-1)).toBe(workspace.id)
  const read = await workspace.get(`/v1/webhooks/${webhook.id}`)
  expect(read.body).toEqual(webhook)
  expect((await workspace.get('/v1/webhooks')).body.data[0]).toEqual(webhook)

  const [row] = await api.database.sql`select * from webhook_secrets where webhook_id = ${webhook.id}`
  const place = { purpose: 'webhook_secret', workspaceId: workspace.id, rowId: row?.id } as const
  expect(String(openSecret(row?.signing_secret_sealed, place, api.masterKeys))).toBe(secret)
  expect(row?.expires_at).toBeNull()
})

test('a secret of the tenant is taken as it is; null leaves the webhook unsigned', async () => {
  const own = await workspace.make('/v1/webhooks', { ...webhookInput, secret: 'our own secret' })
  expect(own).toMatchObject({ secret: 'our own secret', signed: true })
  const unsigned = await workspace.make('/v1/webhooks', { ...webhookInput, secret: null })
  expect(unsigned).toMatchObject({ secret: null, signed: false })
  expect((await workspace.get(`/v1/webhooks/${unsigned.id}`)).body.signed).toBe(false)
})

test('header values are sealed, names are shown', async () => {
  const headers = { Authorization: 'Bearer inner-token', 'X-Tenant': 'caf\u00e9' }
  const made = await workspace.post('/v1/webhooks', { ...webhookInput, headers })
  expect(made.body.headers).toEqual(['Authorization', 'X-Tenant'])
  const read = await workspace.get(`/v1/webhooks/${made.body.id}`)
  for (const { text } of [made, read]) expect(text).not.toMatch(/inner-token|sealed/i)
  const [row] = await api.database.sql`select headers_sealed from webhooks where id = ${made.body.id}`
  const place = { purpose: 'webhook_headers', workspaceId: workspace.id, rowId: made.body.id } as const
  expect(JSON.parse(String(openSecret(row?.headers_sealed, place, api.masterKeys)))).toEqual(headers)
})

test('all that can be chosen is kept', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  const chosen = {
    name: 'All',
    url: 'https://tenant.test/hook?a=b',
    events: ['whatsapp.flows.init', 'whatsapp.flows.back'],
    active: false,
    flowIds: [flow.id],
    timeoutMs: 8000,
    fallback: { mode: 'static', reply: { screen: 'SORRY', data: { zebra: 1, apple: '\u0000' } } },
    format: 'plain',
    breaker: { mode: 'off' },
  }
  const { id } = await workspace.make('/v1/webhooks', chosen)
  expect((await workspace.get(`/v1/webhooks/${id}`)).body).toMatchObject(chosen)
})

test('the address guard is asked, and names the member', async () => {
  const answer = await workspace.post('/v1/webhooks', { ...webhookInput, url: 'http://tenant.test/canary' })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toEqual([{ path: 'url', message: 'must be https' }])
  expect(answer.text).not.toContain('canary')
})

test.each([
  ['no events', { events: [] }, 'events'],
  ['an event that is none', { events: ['whatsapp.flows.none'] }, 'events.0'],
  ['an event twice', { events: ['whatsapp.flows.init', 'whatsapp.flows.init'] }, 'events'],
  ['a timeout of 99 ms', { timeoutMs: 99 }, 'timeoutMs'],
  ['a timeout of 8001 ms', { timeoutMs: 8001 }, 'timeoutMs'],
  ['a timeout with a fraction', { timeoutMs: 500.5 }, 'timeoutMs'],
  ['an empty secret', { secret: '' }, 'secret'],
  ['a fallback without a mode', { fallback: {} }, 'fallback.mode'],
  ['a static fallback that is no reply', { fallback: { mode: 'static', reply: {} } }, 'fallback.reply'],
  ['an unknown member of a fallback', { fallback: { mode: 'last_good', reply: {} } }, 'fallback.reply'],
  ['no flows', { flowIds: [] }, 'flowIds'],
  ['an unknown breaker mode', { breaker: { mode: 'auto' } }, 'breaker.mode'],
  ['a reserved header', { headers: { 'webhook-id': 'x' } }, 'headers.webhook-id'],
])('400 for %s', async (_name, members, path) => {
  const answer = await workspace.post('/v1/webhooks', { ...webhookInput, ...members })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toMatchObject([{ path }])
})
