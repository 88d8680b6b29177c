import { beforeAll, describe, expect, test } from 'vitest'
import { StorageError } from '../../../src/storage/database.ts'
import { refuse, sendJson } from '../../support/graph.ts'
import { adminToken } from './api-app.ts'
import { apiWithGraph } from './graph-api.ts'
import { nextNumber } from './samples.ts'

const under = apiWithGraph()
const accessToken = 'EAA-of-somebody'
const atMeta = () => {
  const wabaId = nextNumber()
  under.fake.model.addWaba(wabaId, accessToken)
  return wabaId
}
beforeAll(() => under.fake.model.addToken('EAA-of-another'))

const make = async (body: unknown) => (await under.workspace.make('/v1/wabas', body)).verification
const patch = (wabaId: string, body: unknown) => under.send('PATCH', `/v1/wabas/${wabaId}`, body)

describe('a WABA is verified by an access token that reads it', () => {
  test('when it is made', async () => {
    const wabaId = atMeta()
    const before = under.api.changed.length
    expect(await make({ wabaId, accessToken })).toBe('verified')
    expect(under.fake.calls).toMatchObject([{ path: `/${wabaId}`, query: { fields: 'id' }, accessToken }])
    expect((await under.workspace.get(`/v1/wabas/${wabaId}`)).body.verification).toBe('verified')
    // Both the WABA and its verification are in force before the answer.
    expect(under.api.changed.slice(before)).toEqual([under.workspace.id, under.workspace.id])
  })

  test('when it is given later', async () => {
    const wabaId = atMeta()
    expect(await make({ wabaId })).toBe('unverified')
    expect((await patch(wabaId, { name: 'x' })).body.verification).toBe('unverified')
    expect(under.fake.calls).toEqual([])
    expect((await patch(wabaId, { accessToken })).body.verification).toBe('verified')
    expect((await patch(wabaId, { accessToken: null })).body).toMatchObject({
      verification: 'verified',
      hasAccessToken: false,
    })
  })

  test('when it is given as the operator moves it', async () => {
    const wabaId = atMeta()
    await make({ wabaId })
    const to = await under.api.makeWorkspace()
    const call = { token: adminToken, headers: { 'X-Workspace-Id': under.workspace.id } }
    const before = under.api.changed.length
    const body = { workspaceId: to.id, accessToken }
    const moved = await under.api.call('PATCH', `/v1/wabas/${wabaId}`, { ...call, body })
    expect(moved.body).toMatchObject({ workspaceId: to.id, verification: 'verified' })
    expect((await to.get(`/v1/wabas/${wabaId}`)).body.verification).toBe('verified')
    expect(under.api.changed.slice(before)).toEqual([to.id, under.workspace.id, to.id])
  })

  test('and not asked about again', async () => {
    const wabaId = atMeta()
    await make({ wabaId, accessToken })
    under.fake.assertNoSurprises()
    expect((await patch(wabaId, { accessToken })).body.verification).toBe('verified')
    expect(under.fake.calls).toEqual([])
  })
})

describe('it stays unverified', () => {
  test('with a token that sees other WABAs', async () => {
    const wabaId = atMeta()
    expect(await make({ wabaId, accessToken: 'EAA-of-another' })).toBe('unverified')
  })

  test.each([
    ['refuses', refuse(190, { status: 401 })],
    ['has a fault', refuse(2, { status: 500 })],
    ['hangs up', ({ socket }: { socket: { resetAndDestroy(): void } }) => socket.resetAndDestroy()],
  ])('where Graph %s, and the call succeeds', async (_name, behaviour) => {
    const wabaId = atMeta()
    under.fake.next('GET /:id', behaviour, behaviour)
    expect(await make({ wabaId, accessToken })).toBe('unverified')
    expect((await patch(wabaId, { accessToken })).status).toBe(200)
    expect((await under.workspace.get(`/v1/wabas/${wabaId}`)).body).toMatchObject({
      verification: 'unverified',
      hasAccessToken: true,
    })
  })

  test('where the database fails after it was made or moved, and the call succeeds', async () => {
    const wabaId = atMeta()
    const { sql } = under.api.database
    const to = await under.api.makeWorkspace()
    const call = { token: adminToken, headers: { 'X-Workspace-Id': under.workspace.id } }
    await sql`alter table wabas add constraint fails_on_purpose check (not verified) not valid`
    try {
      expect(await make({ wabaId, accessToken })).toBe('unverified')
      const body = { workspaceId: to.id, accessToken }
      const moved = await under.api.call('PATCH', `/v1/wabas/${wabaId}`, { ...call, body })
      expect([moved.status, moved.body.workspaceId, moved.body.verification]).toEqual([200, to.id, 'unverified'])
    } finally {
      await sql`alter table wabas drop constraint fails_on_purpose`
    }
    expect(under.api.reported.map(({ error }) => error)).toEqual([expect.any(StorageError), expect.any(StorageError)])
  })

  test('where it is removed while Graph is asked, and the call succeeds', async () => {
    const wabaId = atMeta()
    under.fake.next('GET /:id', async ({ response, standard }) => {
      await under.workspace.remove(`/v1/wabas/${wabaId}`)
      sendJson(response, 200, standard())
    })
    expect(await make({ wabaId, accessToken })).toBe('unverified')
    expect((await under.workspace.get(`/v1/wabas/${wabaId}`)).status).toBe(404)
  })

  test('where the operator says so', async () => {
    const wabaId = atMeta()
    await make({ wabaId, accessToken })
    const call = { token: adminToken, headers: { 'X-Workspace-Id': under.workspace.id } }
    const body = { verification: 'unverified', accessToken }
    const answer = await under.api.call('PATCH', `/v1/wabas/${wabaId}`, { ...call, body })
    expect(answer.body.verification).toBe('unverified')
  })
})

test.each(['a b', 'a\nb', 'ñ'])('400 for %j, which no header can carry', async (token) => {
  const answer = await under.workspace.post('/v1/wabas', { wabaId: nextNumber(), accessToken: token })
  expect([answer.status, answer.body.errors[0].path]).toEqual([400, 'accessToken'])
  expect(answer.text).not.toContain(token)
})
