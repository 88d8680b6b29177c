import { afterAll, beforeAll, expect, test } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
import { openDatabase } from '../../../src/storage/database.ts'
import { eventually } from '../../support/eventually.ts'
import { adminToken, listen, startApi, type TestApi, type TestWorkspace } from './api-app.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

test('makes, reads and lists workspaces', async () => {
  const made = await api.call('POST', '/v1/workspaces', { token: adminToken, body: { name: 'One' } })
  expect(made.body).toEqual({
    id: expect.stringMatching(/^ws_[0-9a-z]{26}$/),
    name: 'One',
    createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
    updatedAt: made.body.createdAt,
  })
  const read = await api.call('GET', `/v1/workspaces/${made.body.id}`, { token: adminToken })
  expect(read.body).toEqual(made.body)
  const listed = await api.call('GET', '/v1/workspaces', { token: adminToken })
  expect(listed.body.data[0]).toEqual(made.body)
  expect(api.changed).toContain(made.body.id)
})

test('an API key is shown once, in full; lists tell keys apart by their beginning', async () => {
  const path = `/v1/workspaces/${workspace.id}/api-keys`
  const made = await api.call('POST', path, { token: adminToken, body: { name: 'backend' } })
  const { key: apiKey, ...shown } = made.body
  expect(apiKey).toMatch(new RegExp(`^rlv_${workspace.id.slice(3)}_[0-9A-Za-z]{43}$`))
  expect(shown).toMatchObject({ name: 'backend', scopes: ['read', 'write'], lastUsedAt: null })
  expect(apiKey.startsWith(shown.prefix)).toBe(true)
  const listed = await api.call('GET', path, { token: adminToken })
  expect(listed.body.data[0]).toEqual(shown)
  expect(listed.text).not.toContain(apiKey)
  const prefixes = listed.body.data.map((item: { prefix: string }) => item.prefix)
  expect(new Set(prefixes).size).toBe(prefixes.length)
})

test('only the digest of a key is stored', async () => {
  const rows = await api.database
    .sql`select key_digest, api_keys::text as row from api_keys where workspace_id = ${workspace.id}`
  expect(rows.map((row) => row.key_digest)).toContainEqual(sha256(workspace.apiKey))
  for (const row of rows) expect(row.row).not.toContain(workspace.apiKey.slice(-30))
})

test('a key that is deleted from the database is dead at once', async () => {
  const apiKey = await api.makeApiKey(workspace.id, ['read'])
  expect((await api.call('GET', '/v1/clients', { token: apiKey })).status).toBe(200)
  await api.database.sql`delete from api_keys where key_digest = ${sha256(apiKey)}`
  expect((await api.call('GET', '/v1/clients', { token: apiKey })).status).toBe(401)
})

test('a key works in its workspace alone: its digest under another workspace is no key', async () => {
  const other = await api.makeWorkspace()
  const moved = workspace.apiKey.replace(workspace.id.slice(3), other.id.slice(3))
  expect((await api.call('GET', '/v1/clients', { token: moved })).status).toBe(401)
})

test('notes when a key was last used, at most once a minute', async () => {
  const apiKey = await api.makeApiKey(workspace.id, ['read'])
  const digest = sha256(apiKey)
  const lastUsedAt = async () =>
    (await api.database.sql`select last_used_at from api_keys where key_digest = ${digest}`)[0]?.last_used_at
  const use = () => api.call('GET', '/v1/clients', { token: apiKey })
  await use()
  const first = await eventually(lastUsedAt)
  await use()
  await use()
  expect(await lastUsedAt()).toEqual(first)
  await api.database.sql`update api_keys set last_used_at = now() - interval '61 seconds' where key_digest = ${digest}`
  await use()
  await eventually(async () => (await lastUsedAt()) >= first)
})

test('the scheme of the Authorization header is read in any case, and no other scheme', async () => {
  const withHeader = (authorization: string) => api.call('GET', '/v1/workspaces', { headers: { authorization } })
  expect((await withHeader(`bearer ${adminToken}`)).status).toBe(200)
  for (const header of [
    `Basic ${adminToken}`,
    adminToken,
    'Bearer',
    'Bearer ',
    `Bearer ${adminToken} x`,
    `Bearer ${'x'.repeat(5000)}`,
  ]) {
    expect((await withHeader(header)).status).toBe(401)
  }
})

test('without a token nobody learns which routes there are', async () => {
  expect((await api.call('GET', '/v1/nothing')).status).toBe(401)
  expect((await api.call('DELETE', '/v1/workspaces')).status).toBe(401)
  const unknown = await api.call('GET', '/v1/nothing', { token: adminToken })
  expect(unknown.status).toBe(404)
  expect(unknown.body.code).toBe('not_found')
  expect(unknown.headers.get('content-type')).toContain('application/problem+json')
})

test('405 names the methods that a path takes', async () => {
  for (const method of ['DELETE', 'PUT', 'PATCH', 'OPTIONS']) {
    const answer = await api.call(method, '/v1/clients', { token: workspace.apiKey })
    expect(answer.status).toBe(405)
    expect(answer.body.code).toBe('method_not_allowed')
    expect(answer.headers.get('allow')).toBe('POST, GET, HEAD')
  }
  expect((await api.call('POST', '/v1/clients/x', { token: workspace.apiKey, body: {} })).status).toBe(405)
  expect((await api.call('HEAD', '/v1/clients', { token: workspace.apiKey })).status).toBe(200)
})

test('503 with Retry-After while the database is away; what is reported names the route by its pattern', async () => {
  const away = openDatabase({ url: 'postgres://nobody@127.0.0.1:1/none', prepare: true })
  const lone = await listen({ database: away })
  try {
    const calls = [
      lone.call('GET', '/v1/clients', { token: workspace.apiKey }),
      lone.call('GET', '/v1/workspaces', { token: adminToken }),
      lone.call('POST', '/v1/workspaces', { token: adminToken, body: { name: 'x' } }),
      lone.call('GET', `/v1/flow-responses?flowToken=nobody-logs-this`, {
        token: adminToken,
        headers: { 'X-Workspace-Id': workspace.id },
      }),
    ]
    for (const answer of await Promise.all(calls)) {
      expect(answer.status).toBe(503)
      expect(answer.body.code).toBe('database_unavailable')
      expect(answer.headers.get('retry-after')).toBe('1')
    }
    expect(lone.reported.map(({ route }) => route)).toContain('GET /v1/flow-responses')
    expect(JSON.stringify(lone.reported)).not.toContain('nobody-logs-this')
  } finally {
    await lone.close()
    await away.close()
  }
})

test('500 tells nothing of its cause', async () => {
  const failing = await listen({
    database: api.database,
    configChanged: () => Promise.reject(new Error('inner-cause')),
  })
  try {
    const answer = await failing.call('POST', '/v1/workspaces', { token: adminToken, body: { name: 'x' } })
    expect(answer.status).toBe(500)
    expect(answer.body).toMatchObject({ code: 'internal_error', type: 'urn:relevo:problem:internal_error' })
    expect(answer.text).not.toContain('inner-cause')
    expect(failing.reported).toMatchObject([{ error: { message: 'inner-cause' }, route: 'POST /v1/workspaces' }])
  } finally {
    await failing.close()
  }
})
