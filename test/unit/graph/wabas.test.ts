import { expect, it } from 'vitest'
import { subscribeApp, verifyWaba } from '../../../src/graph/wabas.ts'
import { answerWith, refuse } from '../../support/graph.ts'
import { graphAway } from '../../support/graph-client.ts'
import { accessToken, graphUnderTest, wabaId } from './graph-under-test.ts'

const under = graphUnderTest()

it('a token verifies the WABA that it reads', async () => {
  expect(await verifyWaba(under.graph, wabaId, accessToken)).toBe(true)
  expect(under.fake.calls).toMatchObject([{ path: '/10', query: { fields: 'id' }, accessToken }])
})

it('and no other: one it does not see, one that answers under another id, one that Meta cannot be asked for', async () => {
  under.fake.model.addWaba('11', 'EAAother')
  expect(await verifyWaba(under.graph, '11', accessToken)).toBe(false)
  expect(await verifyWaba(under.graph, '12', accessToken)).toBe(false)
  under.fake.next('GET /:id', answerWith({ id: '99' }), answerWith({}), refuse(190, { status: 401 }))
  for (let times = 0; times < 3; times++) expect(await verifyWaba(under.graph, wabaId, accessToken)).toBe(false)
  expect(await verifyWaba(graphAway, wabaId, accessToken)).toBe(false)
})

it('subscribes the app', async () => {
  expect(await subscribeApp(under.graph, wabaId, accessToken)).toEqual({ ok: true, value: null })
  expect(under.fake.model.subscribed).toEqual(new Set([wabaId]))
  under.fake.next('POST /:id/subscribed_apps', refuse(200, { status: 403 }))
  expect(await subscribeApp(under.graph, wabaId, accessToken)).toMatchObject({ problem: { metaCode: 200 } })
})
