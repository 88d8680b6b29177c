import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { fakeMeta } from '../support/meta.ts'
import {
  type ApiAnswer,
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

/** What a change of a WABA means to Meta's next call, on the process that took the change. */
describe('a changed WABA, seen from Meta', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo({ DEADLINE_MS: '5000' })
    tenant = await startTenant()
    tenant.always((call) => reply({ screen: call.received.path.split('?').at(-1), data: {} })(call))
  })
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  const ping = { version: '3.0', action: 'ping' }
  const call = async (account: TestAccount, method: string, path: string, body?: unknown): Promise<ApiAnswer> => {
    const answer = await relevo.api(method, path, { body, token: account.token })
    expect(answer.status).toBeLessThan(300)
    return answer
  }
  /** The same WABA as Meta calls it with another key or secret. */
  const metaWith = ({ endpointUri, publicKey, appSecret }: TestAccount, more: Partial<TestAccount>) =>
    fakeMeta({ endpointUri, publicKey, appSecret, ...more })

  it('app secrets: a new one is accepted beside the old one, a removed one is not', async () => {
    const account = await createAccount(relevo)
    const path = `/v1/wabas/${account.wabaId}/app-secrets`
    const [old] = (await call(account, 'GET', path)).body.data
    const renewed = metaWith(account, { appSecret: 'new-app-secret' })
    expect((await renewed.call(ping)).status).toBe(432)
    await call(account, 'POST', path, { appSecret: 'new-app-secret' })
    expect([(await renewed.call(ping)).status, (await account.meta.call(ping)).status]).toEqual([200, 200])
    await call(account, 'DELETE', `${path}/${old.id}`)
    expect([(await renewed.call(ping)).status, (await account.meta.call(ping)).status]).toEqual([200, 432])
  })

  it('a deleted WABA is unknown, and whoever registers it next answers with keys of their own', async () => {
    const account = await createAccount(relevo)
    await call(account, 'DELETE', `/v1/wabas/${account.wabaId}`)
    expect((await account.meta.call(ping)).status).toBe(404)
    const next = await createAccount(relevo, { wabaId: account.wabaId })
    expect((await next.meta.call(ping)).status).toBe(200)
    expect((await account.meta.call(ping)).status).toBe(432)
  })

  it('a deleted webhook does not answer', async () => {
    const account = await createAccount(relevo)
    const webhook = await createWebhook(relevo, account, `${tenant.url}?ONE`)
    expect((await account.meta.init('t')).answer.screen).toBe('ONE')
    await call(account, 'DELETE', `/v1/webhooks/${webhook.id}`)
    expect((await account.meta.init('t')).answer).toEqual({ data: { acknowledged: true } })
  })

  it('a moved WABA answers with the same keys and secrets, through the webhooks of its new workspace', async () => {
    const account = await createAccount(relevo)
    const other = await createAccount(relevo)
    await createWebhook(relevo, account, `${tenant.url}?OLD`)
    await createWebhook(relevo, other, `${tenant.url}?NEW`)
    expect((await account.meta.init('t')).answer.screen).toBe('OLD')
    const move = (from: TestAccount, to: TestAccount) =>
      relevo.api('PATCH', `/v1/wabas/${account.wabaId}`, {
        body: { workspaceId: to.workspaceId },
        workspaceId: from.workspaceId,
      })
    expect((await move(account, other)).status).toBe(200)
    expect((await account.meta.init('t')).answer.screen).toBe('NEW')
    expect((await relevo.exchanges(other, 1))[0]).toMatchObject({ wabaId: account.wabaId, outcome: 'replied' })
    expect((await relevo.exchanges(account, 1))[0]).toMatchObject({ wabaId: account.wabaId, outcome: 'replied' })
    expect((await move(other, account)).status).toBe(200)
    expect((await account.meta.init('t')).answer.screen).toBe('OLD')
  })

  it('an expunged client: what a real exchange left is gone, the next one is of nobody', async () => {
    const account = await createAccount(relevo)
    const { token } = account
    await createWebhook(relevo, account, `${tenant.url}?ONE`)
    const body = { flowToken: 'expunge-token', phoneNumber: '+5215555550199' }
    const { clientId } = await create(relevo, '/v1/flow-responses', body, token)
    await account.meta.exchange('FORM', { note: 'inner-payload' }, 'expunge-token')
    const [before] = await relevo.exchanges(account, 1)
    expect(before).toMatchObject({ clientId, flowToken: 'expunge-token' })

    const gone = await call(account, 'DELETE', `/v1/clients/${clientId}`)
    expect(gone.headers.get('x-expunged')).toBe('exchanges=1,flowResponses=1,conversations=0,deliveries=0')
    const [after] = await relevo.exchanges(account, 1)
    expect(after).toEqual({ ...before, clientId: null, flowToken: null, screen: null })
    const whole = await call(account, 'GET', `/v1/exchanges/${before.id}`)
    expect(whole.body).toMatchObject({ envelope: null, reply: null, timings: { total: before.durationMs } })

    await account.meta.exchange('FORM', {}, 'expunge-token')
    const envelope = JSON.parse(String(tenant.received.at(-1)?.rawBody))
    expect(envelope.data).toMatchObject({ client: null, flowResponse: { status: 'IN_PROGRESS', clientId: null } })
    await eventually(async () => (await relevo.exchanges(account, 2)).length === 2)
  })
})
