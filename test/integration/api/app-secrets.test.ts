import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSecret } from '../../../src/crypto/sealed-secret.ts'
import { newId } from '../../../src/domain/ids.ts'
import { mostAppSecrets } from '../../../src/storage/app-secrets.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let wabaId: string
let path: string

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  wabaId = (await workspace.make('/v1/wabas', { wabaId: nextNumber(), appSecrets: ['first-inner-secret'] })).wabaId
  path = `/v1/wabas/${wabaId}/app-secrets`
})
afterAll(() => api.close())

test('several live at once, newest first; none is ever shown', async () => {
  const told = api.changed.length
  const made = await workspace.post(path, { appSecret: 'second-inner-secret' })
  expect(made.status).toBe(201)
  expect(made.body).toEqual({
    id: expect.stringMatching(/^as_/),
    createdAt: expect.any(String),
    updatedAt: made.body.createdAt,
  })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  const listed = await workspace.get(path)
  expect(listed.body.data[0]).toEqual(made.body)
  expect(listed.body.data).toHaveLength(2)
  const waba = await workspace.get(`/v1/wabas/${wabaId}`)
  expect(waba.body.appSecrets.map((secret: Json) => secret.id)).toContain(made.body.id)
  for (const { text } of [made, listed, waba]) expect(text).not.toMatch(/inner-secret|sealed/i)

  const rows = await api.database
    .sql`select id, app_secret_sealed from app_secrets where waba_id = ${wabaId} order by id`
  const opened = rows.map((row) => {
    const place = { purpose: 'app_secret', workspaceId: workspace.id, rowId: row.id } as const
    return String(openSecret(row.app_secret_sealed, place, api.masterKeys))
  })
  expect(opened).toEqual(['first-inner-secret', 'second-inner-secret'])
})

test('one is removed; again it is not there, nor under another WABA', async () => {
  const other = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const { id } = await workspace.make(path, { appSecret: 'x' })
  expect((await workspace.remove(`/v1/wabas/${other.wabaId}/app-secrets/${id}`)).status).toBe(404)
  const told = api.changed.length
  expect((await workspace.remove(`${path}/${id}`)).status).toBe(204)
  expect(api.changed.slice(told)).toEqual([workspace.id])
  expect((await workspace.remove(`${path}/${id}`)).status).toBe(404)
  expect((await workspace.get(path)).text).not.toContain(id)
  expect((await workspace.remove(`${path}/${newId('appSecret')}`)).status).toBe(404)
})

test('404 for a WABA that is not of this workspace', async () => {
  const other = await api.makeWorkspace()
  for (const id of [wabaId, nextNumber()]) {
    expect((await other.get(`/v1/wabas/${id}/app-secrets`)).status).toBe(404)
    expect((await other.post(`/v1/wabas/${id}/app-secrets`, { appSecret: 'x' })).status).toBe(404)
  }
})

test('pages like every list', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber(), appSecrets: ['a', 'b', 'c'] })
  const first = (await workspace.get(`/v1/wabas/${wabaId}/app-secrets?limit=2`)).body
  const second = (await workspace.get(`/v1/wabas/${wabaId}/app-secrets?limit=2&cursor=${first.nextCursor}`)).body
  expect([first.data.length, second.data.length, second.nextCursor]).toEqual([2, 1, null])
})

test('409 past the number that is tried on every call', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const add = (_: unknown, n: number) => workspace.post(`/v1/wabas/${wabaId}/app-secrets`, { appSecret: `x${n}` })
  const answers = await Promise.all(Array.from({ length: mostAppSecrets + 2 }, add))
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(mostAppSecrets)
  const refused = answers.filter(({ status }) => status !== 201)
  expect(refused.map(({ body }) => body.code)).toEqual(['limit_reached', 'limit_reached'])
})

test('the same one is not added twice, so that whoever removes it has removed it', async () => {
  const created = await workspace.make('/v1/wabas', { wabaId: nextNumber(), appSecrets: ['the first', 'the other'] })
  const secretsPath = `/v1/wabas/${created.wabaId}/app-secrets`
  const add = (appSecret: string) => workspace.post(secretsPath, { appSecret })
  const codes = (answers: readonly { status: number; body: Json }[]) =>
    answers.map(({ status, body }) => body.code ?? status).sort()
  expect(codes([await add('the first'), await add('the other')])).toEqual(['already_exists', 'already_exists'])
  // At the same time, too.
  expect(codes(await Promise.all([add('new'), add('new'), add('new')]))).toEqual([
    201,
    'already_exists',
    'already_exists',
  ])
  const listed = (await workspace.get(secretsPath)).body.data
  expect(listed).toHaveLength(3)
  // Another's is not looked at, and one that was removed may come again.
  const other = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  expect((await workspace.post(`/v1/wabas/${other.wabaId}/app-secrets`, { appSecret: 'new' })).status).toBe(201)
  expect((await workspace.remove(`${secretsPath}/${listed[0].id}`)).status).toBe(204)
  expect((await add('new')).status).toBe(201)
})

test('a WABA that is made with the same one twice has it once', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber(), appSecrets: ['a', 'b', 'a'] })
  expect((await workspace.get(`/v1/wabas/${wabaId}/app-secrets`)).body.data).toHaveLength(2)
})
