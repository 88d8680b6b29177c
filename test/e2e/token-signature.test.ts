import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

describe('requireTokenSignature', () => {
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo()
    account = await createAccount(relevo)
    tenant = await startTenant()
    await createWebhook(relevo, account, tenant.url)
    const body = { requireTokenSignature: true }
    const patch = await relevo.api('PATCH', `/v1/wabas/${account.wabaId}`, { body, token: account.token })
    expect(patch).toMatchObject({ status: 200, body })
  })
  afterAll(async () => {
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
  })

  const signed = (flowToken: string, secret = account.appSecret) => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const head = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ flow_token: flowToken })}`
    return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`
  }
  const init = (flowToken: string, flow_token_signature?: string, version = '4.0', metaFlowId?: string) =>
    account.meta.call(
      { action: 'INIT', version, flow_token: flowToken, flow_token_signature },
      metaFlowId === undefined ? {} : { metaFlowId },
    )

  it('lets a signed token through and tells the webhook', async () => {
    tenant.next(reply({ screen: 'A', data: {} }))
    expect((await init('vouched', signed('vouched'))).answer.screen).toBe('A')
    const envelope = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '')
    expect(envelope.data.flowExchange.tokenSignature).toBe('verified')
  })

  it.each([
    ['absent', undefined],
    ['of another token', signed('other', 'app-secret')],
    ['not a JWT', 'x.y.z'],
  ])('refuses one that is %s with an encrypted 427, without asking the webhook', async (_name, signature) => {
    const answer = await init('unvouched', signature)
    expect(answer.status).toBe(427)
    expect(answer.answer).toEqual({ error_msg: expect.any(String) })
  })

  it('one that is refused is told to nobody, and neither makes nor moves a row', async () => {
    const { token } = account
    const observer = await createWebhook(relevo, account, `${tenant.url}/told`)
    await create(relevo, '/v1/flow-responses', { flowToken: 'hers' }, token)
    const count = (await relevo.api('GET', '/v1/exchanges', { token })).body.data.length
    for (const flowToken of ['hers', 'never-seen']) expect((await init(flowToken)).status).toBe(427)
    await relevo.exchanges(account, count + 2)
    const rowOf = async (flowToken: string) =>
      (await relevo.api('GET', `/v1/flow-responses?flowToken=${flowToken}`, { token })).body.data[0]
    expect(await rowOf('hers')).toMatchObject({ status: 'SENT', openedAt: null, lastActivityAt: null })
    expect(await rowOf('never-seen')).toBeUndefined()
    expect((await relevo.api('GET', '/v1/deliveries', { token })).body.data).toEqual([])
    await relevo.api('DELETE', `/v1/webhooks/${observer.id}`, { token })
  })

  it('asks for none on pings and error notifications (protocol.md 2.4)', async () => {
    expect((await account.meta.call({ action: 'ping', version: '4.0' })).status).toBe(200)
    const notice = { action: 'data_exchange', version: '4.0', flow_token: 't', data: { error: '' } }
    expect((await account.meta.call(notice)).status).toBe(200)
  })

  it('asks for none of a flow that is known to be older than signatures, unless the phone says otherwise', async () => {
    const flow = { wabaId: account.wabaId, metaFlowId: '300', name: 'Old', dataApiVersion: '3.0' }
    await create(relevo, '/v1/flows', flow, account.token)
    await create(relevo, '/v1/flows', { ...flow, metaFlowId: '400', dataApiVersion: '4.0' }, account.token)
    tenant.next(reply({ screen: 'A', data: {} }))
    expect((await init('old', undefined, '3.0', '300')).status).toBe(200)
    // A signature that is there must be right.
    expect((await init('old', 'for.ge.d', '3.0', '300')).status).toBe(427)
    expect((await init('raised-since', undefined, '4.0', '300')).status).toBe(427)
    expect((await init('new', undefined, '3.0', '400')).status).toBe(427)
  })
})
