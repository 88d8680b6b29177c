import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiRequest, adminToken, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextPhoneNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

const post = (request: ApiRequest, path = '/v1/clients') =>
  api.call('POST', path, { token: workspace.apiKey, ...request })

test.each([
  ['cut short', '{"phoneNumber":"canary'],
  ['empty', ''],
  ['no JSON', 'phoneNumber=canary'],
  ['two documents', '{}{}'],
  ['a prototype', '{"__proto__":{"canary":1}}'],
  ['bad UTF-8', Uint8Array.from([0x7b, 0x22, 0xff, 0x22, 0x7d])],
  ['10,000 arrays', '['.repeat(10_000) + ']'.repeat(10_000)],
  ['10,000 objects', `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`],
])('400 for a body that is %s', async (_name, raw) => {
  const answer = await post({ raw })
  expect(answer.status).toBe(400)
  // None at all counts as one without members.
  const errors = [{ path: raw === '' ? 'phoneNumber' : '', message: expect.stringMatching(/./) }]
  expect(answer.body).toMatchObject({ code: 'invalid_input', status: 400, errors })
  expect(answer.text).not.toContain('canary')
})

test('413 above the limit of the route', async () => {
  const name = (bytes: number) => JSON.stringify({ phoneNumber: nextPhoneNumber(), name: 'x'.repeat(bytes) })
  expect((await post({ raw: name(1024 * 1024) })).body.code).toBe('body_too_large')
  expect((await post({ raw: name(1000 * 1024) })).body.code).toBe('invalid_input')
  expect((await post({ raw: name(2 * 1024 * 1024) }, '/v1/flows')).body.code).toBe('invalid_input')
})

test('415 for a body of another type', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'nonsense']) {
    const answer = await post({ raw: '{}', headers: { 'content-type': type } })
    expect(answer.status).toBe(415)
    expect(answer.body.code).toBe('unsupported_media_type')
  }
  const answer = await post({
    raw: JSON.stringify({ phoneNumber: nextPhoneNumber() }),
    headers: { 'content-type': 'Application/JSON; charset=utf-8' },
  })
  expect(answer.status).toBe(201)
})

test('all faults come at once, with paths and expectations and without values', async () => {
  const body = {
    name: '',
    url: 5,
    events: ['canary-event'],
    timeoutMs: 99,
    fallback: { mode: 'static', reply: { canary: 1 } },
    breaker: { mode: 'on', canary_member: 'canary-value' },
  }
  const answer = await post({ body }, '/v1/webhooks')
  expect(answer.status).toBe(400)
  const paths = answer.body.errors.map((fault: { path: string }) => fault.path)
  expect(paths).toEqual(['name', 'url', 'events.0', 'timeoutMs', 'fallback.reply', 'breaker.canary_member'])
  expect(answer.body.detail).toMatch(/^name: .* \(and 5 more\)$/)
  expect(answer.text).not.toMatch(/canary-(event|value)/)
})

test('a document in the place of a member name is not repeated', async () => {
  const answer = await post({ body: { ['canary'.repeat(1000)]: 1, phoneNumber: nextPhoneNumber() } })
  expect(answer.status).toBe(400)
  expect(answer.text.length).toBeLessThan(600)
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`member${i}`, 1]))
  expect((await post({ body: many })).body.errors).toHaveLength(20)
})

const mebibyte = 1024 * 1024
const distinct = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`m${i.toString(36)}`, 5]))
const webhook = { name: 'x', url: 'https://backend.test/flows', events: ['whatsapp.flows.init'] }

test.each([
  ['items of a list', '/v1/webhooks', { ...webhook, events: Array(150_000).fill('x') }, ['events']],
  ['ids of a list', '/v1/webhooks', { ...webhook, flowIds: Array(150_000).fill(5) }, ['flowIds']],
  ['headers', '/v1/webhooks', { ...webhook, headers: distinct(90_000) }, ['headers']],
  ['app secrets', '/v1/wabas', { wabaId: '1', appSecrets: Array(150_000).fill('') }, ['appSecrets']],
  [
    'objects of a list',
    '/v1/flows/x/messages',
    { clientId: 'x', type: 'template', template: { name: 'x', language: 'es', components: Array(150_000).fill(1) } },
    ['template.components'],
  ],
])('a body with a hundred thousand wrong %s is told once, and not item by item', async (_name, path, body, paths) => {
  const raw = JSON.stringify(body)
  expect(raw.length).toBeLessThan(mebibyte)
  const answer = await post({ raw }, path)
  expect(answer.status).toBe(400)
  expect(answer.body.errors.map((fault: { path: string }) => fault.path)).toEqual(paths)
})

test('so is an API key with a hundred thousand scopes', async () => {
  const path = `/v1/workspaces/${workspace.id}/api-keys`
  const body = { name: 'x', scopes: Array(120_000).fill('x') }
  const answer = await api.call('POST', path, { token: adminToken, body })
  expect(answer.body.errors).toMatchObject([{ path: 'scopes' }])
})

test('400 for a hundred thousand members that are not known: twenty are told', async () => {
  const answer = await post({ body: distinct(90_000) })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toHaveLength(20)
  expect(answer.body.detail).toMatch(/\(and at least 20 more\)$/)
})

test('a body of more than 200,000 values is not read', async () => {
  for (const raw of [
    `{"name":[${Array(200_001).fill(0).join(',')}]}`,
    `{"flowJson":{"a":[${Array(900_000).fill('{"id":"s"}').join(',')}]}}`,
  ]) {
    const answer = await post({ raw }, '/v1/flows')
    expect(answer.status).toBe(400)
    expect(answer.body.errors).toEqual([{ path: '', message: 'has more than 200000 values' }])
  }
})

test.each(['0', '101', '-1', '1.5', 'ten', '', '1&limit=2'])('400 for limit=%s', async (limit) => {
  const answer = await workspace.get(`/v1/clients?limit=${limit}`)
  expect(answer.status).toBe(400)
  expect(answer.body.errors[0].path).toBe('limit')
})

test.each([
  'x',
  '%00',
  'Y2xpZW50XzA',
  Buffer.from('conv_00000000000000000000000000').toString('base64url'),
  'x'.repeat(400),
])('400 for cursor=%s', async (cursor) => {
  const answer = await workspace.get(`/v1/clients?cursor=${cursor}`)
  expect(answer.status).toBe(400)
  expect(answer.body.errors[0].path).toBe('cursor')
})

test.each([
  '9999-99-99T99:99:99.999Z/1',
  '0000-01-01T00:00:00.000Z/1',
  '2026-01-01T00:00:00.000Z/',
  '2026-02-31T00:00:00.000Z/1',
  'waba_1',
])('400 for a cursor of WABAs that says %s', async (position) => {
  const answer = await workspace.get(`/v1/wabas?cursor=${Buffer.from(position).toString('base64url')}`)
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toEqual([{ path: 'cursor', message: 'is not a cursor of this list' }])
})
