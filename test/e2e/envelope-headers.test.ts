import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, type ReceivedCall, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

describe('the request to a webhook', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo({ DEADLINE_MS: '4900' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
  })
  afterEach(() => tenant.assertNoSurprises())
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  const lastCall = (): ReceivedCall => tenant.received.at(-1) ?? expect.fail('the webhook was not called')
  async function accountWith(webhook: Record<string, unknown>, path = '') {
    const account = await createAccount(relevo)
    return { account, webhook: await createWebhook(relevo, account, tenant.url + path, webhook) }
  }

  it('carries every header of the contract', async () => {
    const { account, webhook } = await accountWith({})
    const before = Math.floor(Date.now() / 1000)
    await account.meta.exchange('FORM', { name: 'x' }, 'header-token')
    const { headers, rawBody, method, path } = lastCall()
    const envelope = JSON.parse(rawBody.toString())
    expect({ method, path }).toEqual({ method: 'POST', path: '/hook' })
    expect(headers).toMatchObject({
      host: new URL(tenant.url).host,
      'content-type': 'application/json',
      'content-length': String(rawBody.length),
      'user-agent': 'Platica-Webhooks/1.0',
      'x-webhook-event': 'whatsapp.flows.screen_advance',
      'x-webhook-id': webhook.id,
      'x-webhook-event-id': envelope.id,
      'x-webhook-resource-type': 'flow_response',
      'x-webhook-resource-id': 'header-token',
      'x-webhook-timestamp': envelope.timestamp,
      'x-webhook-attempt': '1',
      'x-webhook-timeout-ms': '4900',
      'webhook-id': envelope.id,
    })
    const sentAt = Number(headers['webhook-timestamp'])
    expect(sentAt).toBeGreaterThanOrEqual(before)
    expect(sentAt).toBeLessThanOrEqual(Math.floor(Date.now() / 1000))
  })

  const ownSecrets = [
    ['any text', 'my own secret, with ünicode', Buffer.from('my own secret, with ünicode')],
    ['whsec_ and base64', 'whsec_MDEyMzQ1Njc4OWFiY2RlZg==', Buffer.from('0123456789abcdef')],
    ['whsec_ and no base64', 'whsec_not base64!', Buffer.from('whsec_not base64!')],
  ] as const
  it.each(ownSecrets)('is signed with a secret of the tenant’s own: %s', async (_name, secret, standardKey) => {
    const { account, webhook } = await accountWith({ secret })
    expect(webhook.secret).toBe(secret)
    await account.meta.exchange('FORM', { text: 'José 🎉' }, 'signed')
    expectSigned(lastCall(), secret, standardKey)
  })

  it('is signed with the secret that was made', async () => {
    const { account, webhook } = await accountWith({})
    await account.meta.init('signed')
    expect(webhook.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expectSigned(lastCall(), webhook.secret, decoded(webhook.secret))
  })

  it('has no signature where the webhook has no secret', async () => {
    const { account, webhook } = await accountWith({ secret: null })
    expect(webhook).toMatchObject({ secret: null, signed: false })
    await account.meta.init('unsigned')
    const { headers } = lastCall()
    for (const name of ['x-webhook-signature', 'x-webhook-signature-previous', 'webhook-signature']) {
      expect(headers).not.toHaveProperty(name)
    }
    expect(headers).toMatchObject({ 'webhook-id': expect.any(String), 'webhook-timestamp': expect.any(String) })
  })

  it('carries the webhook’s own headers and goes to its own path and query', async () => {
    const headers = { Authorization: 'Bearer of-the-tenant', 'X-Tenant': 'blue é', 'x-empty': '' }
    const { account } = await accountWith({ headers }, '/deep%20path?a=1&b=%2F')
    await account.meta.init('own-headers')
    expect(lastCall()).toMatchObject({
      path: '/hook/deep%20path?a=1&b=%2F',
      headers: { authorization: 'Bearer of-the-tenant', 'x-tenant': 'blue é', 'x-empty': '' },
    })
  })

  it('tells a webhook with its own timeoutMs that time', async () => {
    const { account } = await accountWith({ timeoutMs: 5678 })
    await account.meta.init('timeout')
    expect(lastCall().headers['x-webhook-timeout-ms']).toBe('5678')
  })

  const printable = String.fromCharCode(...Array.from({ length: 0x7e - 0x20 }, (_, index) => 0x21 + index))
  const resourceIds: [string, string | null, string][] = [
    ['no token', null, ''],
    ['every byte from 0x21 to 0x7E', printable, printable],
    ['1,024 characters', 'a'.repeat(1024), 'a'.repeat(1024)],
    ['1,025 characters', 'a'.repeat(1025), ''],
    ['4 kB', 'a'.repeat(4096), ''],
    ['a newline', 'a\r\nX-Injected: 1', 'a%0D%0AX-Injected%3A%201'],
    ['a space', 'a b', 'a%20b'],
    ['a tab and a NUL', 'a\t\0', 'a%09%00'],
    ['DEL', 'a\x7f', 'a%7F'],
    ['an accent', 'año=', 'a%C3%B1o%3D'],
    ['an emoji', '🎉', '%F0%9F%8E%89'],
    ['1,024 units of emoji', '🎉'.repeat(512), '%F0%9F%8E%89'.repeat(512)],
    ['half a surrogate pair', 'a\ud800b', 'a%EF%BF%BDb'],
  ]
  it.each(resourceIds)('has a valid X-Webhook-Resource-Id for %s', async (_name, flowToken, header) => {
    const { account } = await accountWith({})
    expect((await account.meta.init(flowToken)).answer).toEqual({ screen: 'NEXT', data: {} })
    const { headers, rawBody } = lastCall()
    expect(headers['x-webhook-resource-id']).toBe(header)
    expect(headers).not.toHaveProperty('x-injected')
    const { resourceId, data } = JSON.parse(rawBody.toString())
    expect(resourceId).toBe(flowToken)
    expect(data.flowResponse?.flowToken ?? null).toBe(flowToken)
  })

  it('in the plain format holds Meta’s decrypted body byte for byte, under the same headers', async () => {
    const { account, webhook } = await accountWith({ format: 'plain' })
    const plaintext = String.raw` {"flow_token" :"plain-token","version":"3.0","action":"data_exchange","screen":"FORM",
      "data":{"n":1.50,"id":12345678901234567890,"s":"\u00e9\/é"},"more":1}`
    expect((await account.meta.call(plaintext)).answer).toEqual({ screen: 'NEXT', data: {} })
    const { rawBody, headers } = lastCall()
    expect(rawBody.toString()).toBe(plaintext)
    const [row] = await relevo.exchanges(account, 1)
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'x-webhook-event': 'whatsapp.flows.screen_advance',
      'x-webhook-id': webhook.id,
      'x-webhook-event-id': row.id,
      'x-webhook-resource-type': 'flow_response',
      'x-webhook-resource-id': 'plain-token',
      'x-webhook-timestamp': row.createdAt,
      'x-webhook-timeout-ms': '4900',
      'webhook-id': row.id,
    })
    expectSigned(lastCall(), webhook.secret, decoded(webhook.secret))
    const { body } = await relevo.api('GET', `/v1/exchanges/${row.id}`, { token: account.token })
    expect(body.envelope).toBe(plaintext)
  })
})

/** Both families, recomputed from the secret and what came over the wire. */
function expectSigned({ headers, rawBody }: ReceivedCall, secret: string, standardKey: Buffer): void {
  expect(headers['x-webhook-signature']).toBe(`sha256=${createHmac('sha256', secret).update(rawBody).digest('hex')}`)
  const standard = createHmac('sha256', standardKey)
    .update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`)
    .update(rawBody)
  expect(headers['webhook-signature']).toBe(`v1,${standard.digest('base64')}`)
  expect(headers).not.toHaveProperty('x-webhook-signature-previous')
}

function decoded(whsec: string): Buffer {
  return Buffer.from(whsec.slice('whsec_'.length), 'base64')
}
