import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, type ReceivedCall, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

/** contract.md §4: what is signed with which secret, as a tenant sees it while its secrets rotate. */
describe('rotating a webhook’s secret, seen from the tenant', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount
  let webhookId: string

  beforeAll(async () => {
    relevo = await startRelevo({ DEADLINE_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    account = await createAccount(relevo)
    webhookId = (await createWebhook(relevo, account, tenant.url, { secret: 'one' })).id
  })
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  const rotate = async (body: object) => {
    const path = `/v1/webhooks/${webhookId}/rotate-secret`
    const answer = await relevo.api('POST', path, { body, token: account.token })
    expect(answer.status).toBe(200)
    return answer.body
  }
  const lastCall = async (): Promise<ReceivedCall> => {
    expect((await account.meta.init('t')).answer.screen).toBe('A')
    return tenant.received.at(-1) as ReceivedCall
  }
  const hex = ({ rawBody }: ReceivedCall, secret: string) =>
    `sha256=${createHmac('sha256', secret).update(rawBody).digest('hex')}`
  const standard = ({ rawBody, headers }: ReceivedCall, secret: string) => {
    const head = `${headers['webhook-id']}.${headers['webhook-timestamp']}.`
    return `v1,${createHmac('sha256', secret).update(head).update(rawBody).digest('base64')}`
  }
  /** Which secrets the last call is signed with: the current one, the one before, and those of Standard Webhooks. */
  async function expectSigned(current: string | null, previous: string | null, all: readonly string[]): Promise<void> {
    const call = await lastCall()
    expect(call.headers['x-webhook-signature']).toBe(current === null ? undefined : hex(call, current))
    expect(call.headers['x-webhook-signature-previous']).toBe(previous === null ? undefined : hex(call, previous))
    const list = all.map((secret) => standard(call, secret)).join(' ')
    expect(call.headers['webhook-signature']).toBe(list === '' ? undefined : list)
  }

  it('both signatures while the old one lives, in force with the answer', async () => {
    await expectSigned('one', null, ['one'])
    expect((await rotate({ secret: 'two', graceSeconds: 3600 })).secret).toBe('two')
    await expectSigned('two', 'one', ['two', 'one'])
  })

  it('a PATCH rotates too, with a day of grace, and does not return it; null ends signing', async () => {
    const made = await createWebhook(relevo, account, tenant.url, { secret: 'first', active: false })
    const patch = async (secret: string | null) => {
      const answer = await relevo.api('PATCH', `/v1/webhooks/${made.id}`, { body: { secret }, token: account.token })
      expect(answer.status).toBe(200)
      expect(answer.body).not.toHaveProperty('secret')
      return answer.body.signed
    }
    expect([await patch('second'), await patch(null)]).toEqual([true, false])
  })

  it('rotated twice: both old ones sign, the newest of them in X-Webhook-Signature-Previous', async () => {
    // A shorter grace than the first one still has: the newest is the newest all the same.
    await rotate({ secret: 'three', graceSeconds: 600 })
    await expectSigned('three', 'two', ['three', 'two', 'one'])
  })

  it('each ends at its own time, without a change of configuration', async () => {
    await rotate({ secret: 'four', graceSeconds: 3 })
    await expectSigned('four', 'three', ['four', 'three', 'two', 'one'])
    const signatures = async () => String((await lastCall()).headers['webhook-signature']).split(' ').length
    await eventually(async () => (await signatures()) === 3, { timeoutMs: 10_000, everyMs: 50 })
    await expectSigned('four', 'two', ['four', 'two', 'one'])
  })

  it('graceSeconds 0 ends the current one at once', async () => {
    await rotate({ secret: 'five', graceSeconds: 0 })
    await expectSigned('five', 'two', ['five', 'two', 'one'])
  })

  it('null: the old ones sign until they end, then nothing does', async () => {
    await rotate({ secret: null, graceSeconds: 600 })
    await expectSigned(null, 'five', ['five', 'two', 'one'])
  })
})
