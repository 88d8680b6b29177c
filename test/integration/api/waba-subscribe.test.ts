import { expect, test } from 'vitest'
import { refuse } from '../../support/graph.ts'
import { adminToken } from './api-app.ts'
import { apiWithGraph } from './graph-api.ts'
import { nextNumber } from './samples.ts'

const under = apiWithGraph()
const subscribe = (wabaId: string) => under.send('POST', `/v1/wabas/${wabaId}/subscribe`)

test('subscribes the app of the access token to the WABA', async () => {
  const { wabaId } = await under.makeWaba()
  const answer = await subscribe(wabaId)
  expect([answer.status, answer.body]).toEqual([200, { wabaId, subscribed: true }])
  expect(under.fake.model.subscribed.has(wabaId)).toBe(true)
})

test('says by whose fault it failed', async () => {
  const { wabaId, accessToken } = await under.makeWaba()
  under.fake.next('POST /:id/subscribed_apps', refuse(200, { status: 403 }), refuse(4), ({ socket }) => {
    socket.resetAndDestroy()
  })
  const [refused, busy, lost] = [await subscribe(wabaId), await subscribe(wabaId), await subscribe(wabaId)]
  expect(refused.status).toBe(422)
  expect(refused.body).toEqual({
    type: 'urn:relevo:problem:graph_error',
    title: 'Meta refused the call',
    status: 422,
    detail: 'the access token lacks a permission',
    code: 'graph_error',
    metaCode: 200,
    metaSubcode: null,
    traceId: 'AtRaCe-1_x',
    retryable: false,
  })
  expect(refused.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(busy.body).toMatchObject({ status: 502, code: 'graph_error', metaCode: 4, retryable: true })
  expect(lost.body).toMatchObject({ status: 502, code: 'graph_unreachable', metaCode: null, retryable: true })
  expect([refused.text, busy.text, lost.text].join()).not.toContain(accessToken)
})

test('409 without an access token, 404 without a WABA', async () => {
  const { wabaId } = await under.workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const missing = await subscribe(wabaId)
  expect([missing.status, missing.body.code]).toEqual([409, 'access_token_missing'])
  expect((await subscribe(nextNumber())).status).toBe(404)
  expect(under.fake.calls).toEqual([])
})

test("another workspace's WABA is not there", async () => {
  const { wabaId } = await under.makeWaba()
  const other = await under.api.makeWorkspace()
  const call = { token: adminToken, headers: { 'X-Workspace-Id': other.id } }
  expect((await under.api.call('POST', `/v1/wabas/${wabaId}/subscribe`, call)).status).toBe(404)
  expect(under.fake.calls).toEqual([])
})
