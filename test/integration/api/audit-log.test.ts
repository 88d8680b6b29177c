import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ApiErrorCode } from '../../../src/domain/errors.ts'
import { listAuditEntries } from '../../../src/storage/audit-log.ts'
import { adminToken, goodAttempt, type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextPhoneNumber, webhookInput } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let actor: string
let holding: Promise<void> | null = null

beforeAll(async () => {
  const attempt = async () => {
    await holding
    return goodAttempt
  }
  api = await startApi({ attempt })
  workspace = await api.makeWorkspace()
  const { body } = await api.call('GET', `/v1/workspaces/${workspace.id}/api-keys`, { token: adminToken })
  actor = body.data[0].id
})
afterAll(() => api.close())

async function entries(query = '', of = workspace): Promise<Json[]> {
  const answer = await of.get(`/v1/audit-log?limit=100${query}`)
  expect(answer.status, answer.text).toBe(200)
  return answer.body.data
}

test('a search for what is not there stops after a while, and says where', async () => {
  for (let made = 0; made < 3; made++) await workspace.remove('/v1/clients/client_0')
  const { database } = api
  const bounds = { firstRows: 1, mostRows: 1, searchMs: 0 }
  const search = (before: string | null) =>
    listAuditEntries(database, workspace.id, { before, limit: 10 }, { action: 'nothing' }, bounds)
  const first = await search(null)
  expect(first).toEqual({ rows: [], stoppedAt: expect.any(String) })
  const second = await search(first.stoppedAt)
  expect((second.stoppedAt ?? '') < (first.stoppedAt ?? '')).toBe(true)
})

const asOperator = (workspaceId: string) => ({ token: adminToken, headers: { 'X-Workspace-Id': workspaceId } })

test('every change is there, newest first: who, what, which members, and how it ended', async () => {
  const before = new Date().toISOString()
  const phoneNumber = nextPhoneNumber()
  const { id } = await workspace.make('/v1/clients', { phoneNumber, name: 'Canary Person' })
  await workspace.patch(`/v1/clients/${id}`, { email: 'canary@example.test' })
  await api.call('PATCH', `/v1/clients/${id}`, { ...asOperator(workspace.id), body: { name: null } })
  await workspace.remove(`/v1/clients/${id}`)
  await workspace.remove(`/v1/clients/${id}`)
  const found = await entries(`&since=${before}`)
  expect(found).toMatchObject([
    { actor, action: 'DELETE /v1/clients/:id', resourceId: id, members: [], status: 404 },
    { actor, action: 'DELETE /v1/clients/:id', resourceId: id, members: [], status: 204 },
    { actor: 'operator', action: 'PATCH /v1/clients/:id', resourceId: id, members: ['name'], status: 200 },
    { actor, action: 'PATCH /v1/clients/:id', resourceId: id, members: ['email'], status: 200 },
    { actor, action: 'POST /v1/clients', resourceId: id, members: ['phoneNumber', 'name'], status: 201 },
  ])
  const dump = JSON.stringify(await api.database.orm.execute(sql`select * from audit_log`))
  for (const value of [phoneNumber, 'Canary', 'canary@']) expect(dump).not.toContain(value)
})

test('what did not reach its operation is not there, nor is a reading', async () => {
  const before = new Date().toISOString()
  const readOnly = await api.makeApiKey(workspace.id, ['read'])
  const body = { phoneNumber: nextPhoneNumber() }
  const since = new Date().toISOString()
  const refused: [ApiErrorCode, Json][] = [
    ['unauthorized', await api.call('POST', '/v1/clients', { body })],
    ['forbidden', await api.call('POST', '/v1/clients', { token: readOnly, body })],
    ['invalid_input', await workspace.post('/v1/clients', { ...body, surprise: 1 })],
    ['not_found', await workspace.remove('/v1/clients/nonsense')],
    ['method_not_allowed', await workspace.remove('/v1/clients')],
  ]
  for (const [code, answer] of refused) expect(answer.body.code).toBe(code)
  await workspace.get('/v1/clients')
  expect(await entries(`&since=${since}`)).toEqual([])
  // The key was made for this workspace, by the operator's hand.
  expect(await entries(`&since=${before}`)).toMatchObject([
    { actor: 'operator', action: 'POST /v1/workspaces/:id/api-keys', members: ['name', 'scopes'], status: 201 },
  ])
})

test('a call that runs is there without a status, and gets one in the end', async () => {
  const { id } = await workspace.make('/v1/webhooks', webhookInput)
  const gate = Promise.withResolvers<void>()
  holding = gate.promise
  const running = workspace.post(`/v1/webhooks/${id}/test`, {})
  const action = '&action=POST /v1/webhooks/:id/test'
  await expect.poll(() => entries(action)).toMatchObject([{ resourceId: id, status: null }])
  gate.resolve()
  expect((await running).status).toBe(200)
  holding = null
  expect(await entries(action)).toMatchObject([{ resourceId: id, status: 200 }])
})

test('a repeated answer is no second change', async () => {
  const before = new Date().toISOString()
  const headers = { 'Idempotency-Key': 'of the audit log' }
  const body = { phoneNumber: nextPhoneNumber() }
  for (const _ of [1, 2, 3]) await api.call('POST', '/v1/clients', { token: workspace.apiKey, headers, body })
  expect(await entries(`&since=${before}`)).toHaveLength(1)
})

test('filters and pages', async () => {
  const other = await api.makeWorkspace()
  for (const name of ['a', 'b', 'c']) await other.make('/v1/webhooks', { ...webhookInput, name })
  const all = await entries('', other)
  expect(all.map(({ action }) => action)).toEqual([
    ...Array(3).fill('POST /v1/webhooks'),
    'POST /v1/workspaces/:id/api-keys',
  ])
  expect(await entries('&actor=operator', other)).toEqual(all.slice(3))
  expect(await entries('&action=POST /v1/webhooks', other)).toEqual(all.slice(0, 3))
  expect(await entries('&actor=nobody', other)).toEqual([])
  // `since` is inclusive, `until` is not.
  const inSpan = ({ createdAt }: Json) => createdAt >= all[2].createdAt && createdAt < all[0].createdAt
  expect(await entries(`&since=${all[2].createdAt}&until=${all[0].createdAt}`, other)).toEqual(all.filter(inSpan))

  const pages: Json[] = []
  for (let cursor = ''; ; ) {
    const { body } = await other.get(`/v1/audit-log?limit=1${cursor}`)
    pages.push(...body.data)
    // What comes in between moves nothing.
    await other.make('/v1/webhooks', webhookInput)
    if (pages.length === 4) break
    cursor = `&cursor=${body.nextCursor}`
  }
  expect(pages).toEqual(all)
})

test("the operator's own changes outside of workspaces are his to read", async () => {
  const { body: made } = await api.call('POST', '/v1/workspaces', { token: adminToken, body: { name: 'x' } })
  await api.call('DELETE', `/v1/workspaces/${made.id}`, { token: adminToken })
  const { body } = await api.call('GET', '/v1/audit-log', asOperator('operator'))
  expect(body.data.slice(0, 2)).toMatchObject([
    { actor: 'operator', action: 'DELETE /v1/workspaces/:id', resourceId: made.id, status: 204 },
    { actor: 'operator', action: 'POST /v1/workspaces', resourceId: made.id, members: ['name'], status: 201 },
  ])
  const asTenant = { token: workspace.apiKey, headers: { 'X-Workspace-Id': 'operator' } }
  expect((await api.call('GET', '/v1/audit-log', asTenant)).status).toBe(404)
  expect((await api.call('GET', '/v1/clients', asOperator('operator'))).status).toBe(404)
})

test('no change without its entry: when the log cannot be written, the call is refused', async () => {
  await api.database.orm.execute(sql`alter table audit_log rename to audit_log_away`)
  const phoneNumber = nextPhoneNumber()
  expect((await workspace.post('/v1/clients', { phoneNumber })).status).toBe(500)
  await api.database.orm.execute(sql`alter table audit_log_away rename to audit_log`)
  expect((await workspace.post('/v1/clients', { phoneNumber })).status).toBe(201)
})
