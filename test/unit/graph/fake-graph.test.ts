import { afterAll, beforeAll, expect, it } from 'vitest'
import { type FakeGraph, startGraph } from '../../support/graph.ts'

let fake: FakeGraph
beforeAll(async () => {
  fake = await startGraph()
  fake.model.addWaba('10', 'good')
  fake.model.addPhoneNumber('10', '20')
  fake.model.addFlow('10', '30')
})
afterAll(() => fake.close())

const authorization = 'Bearer good'
const json = { authorization, 'content-type': 'application/json' }

/** A fake that takes everything proves nothing. */
it.each<[name: string, method: string, path: string, headers: Record<string, string>, body: string | null]>([
  ['an unknown path', 'GET', '/v25.0/10/nothing/here', { authorization }, null],
  ['an unknown method', 'PUT', '/v25.0/10', { authorization }, null],
  ['a path without version', 'GET', '/10', { authorization }, null],
  ['another version', 'GET', '/v24.0/10', { authorization }, null],
  ['no token', 'GET', '/v25.0/10', {}, null],
  ['a wrong token', 'GET', '/v25.0/10', { authorization: 'Bearer bad' }, null],
  ['a token in the URL', 'GET', '/v25.0/10?access_token=good', { authorization }, null],
  ['an unknown query member', 'GET', '/v25.0/10/flows?surprise=1', { authorization }, null],
  ['an unknown field', 'GET', '/v25.0/30?fields=id,surprise', { authorization }, null],
  ['an unknown body member', 'POST', '/v25.0/20/messages', json, '{"messaging_product":"whatsapp","surprise":1}'],
  ['a body where none belongs', 'POST', '/v25.0/10/subscribed_apps', json, '{}'],
  ['a body that is not JSON', 'POST', '/v25.0/20/messages', { authorization, 'content-type': 'text/plain' }, 'x=1'],
  [
    'a key in another form',
    'POST',
    '/v25.0/20/whatsapp_business_encryption',
    json,
    '{"business_public_key":"-----BEGIN RSA PUBLIC KEY-----"}',
  ],
  ['a token for the host of an asset', 'GET', '/download/30?oh=1', { authorization }, null],
])('the fake fails a test for %s', async (_name, method, path, headers, body) => {
  const response = await fetch(fake.url + path, { method, headers, body })
  await response.text()
  expect(response.status).toBeGreaterThanOrEqual(400)
  expect(() => fake.assertNoSurprises()).toThrow('fake Graph: ')
  expect(() => fake.assertNoSurprises()).not.toThrow()
})

it('and for a behaviour that was not used', () => {
  fake.next('POST /:id/messages', () => undefined)
  expect(() => fake.assertNoSurprises()).toThrow('unused behaviour')
  expect(() => fake.next('POST /surprise', () => undefined)).toThrow('no route')
})
