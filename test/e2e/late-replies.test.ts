import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { delayed, silence } from '../support/tenant-behaviours.ts'

const acknowledged = '{"data":{"acknowledged":true}}'

/** A timeout fallback, and how late the webhook was. */
describe('a reply after the deadline', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount

  beforeAll(async () => {
    relevo = await startRelevo()
  })
  beforeEach(async () => {
    tenant = await startTenant()
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url, { breaker: { mode: 'off' } })
  })
  afterEach(() => tenant.close())
  afterAll(() => relevo.close())

  const lateReplies = async (count: number) =>
    (await relevo.exchanges(account, count)).map((row): number | null => row.lateReplyMs)

  it('changes nothing for the person, and is recorded with how late it was', async () => {
    tenant.always(delayed(830, { screen: 'TOO_LATE', data: {} }))
    expect((await account.meta.init('late')).text).toBe(acknowledged)
    await eventually(async () => (await lateReplies(1))[0] !== null)
    const [row] = await relevo.exchanges(account, 1)
    expect(row).toMatchObject({ outcome: 'timeout' })
    expect(row.webhookMs).toBeGreaterThanOrEqual(700)
    expect(row.webhookMs).toBeLessThan(830)
    expect(row.lateReplyMs).toBeGreaterThanOrEqual(829)
    expect(row.lateReplyMs).toBeLessThan(1500)
    const { body } = await relevo.api('GET', `/v1/exchanges/${row.id}`, { token: account.token })
    expect(body).toMatchObject({ lateReplyMs: row.lateReplyMs, reply: JSON.parse(acknowledged) })
  })

  it('is recorded for 8 of 9 at once, and the figures say so', async () => {
    tenant.always(delayed(830, { screen: 'TOO_LATE', data: {} }))
    await Promise.all(Array.from({ length: 9 }, (_, n) => account.meta.init(`late-${n}`)))
    await eventually(async () => (await lateReplies(9)).filter((ms) => ms !== null).length === 8)
    const { body } = await relevo.api('GET', '/v1/stats', { token: account.token })
    expect(body).toMatchObject({ exchanges: 9, outcomes: { timeout: 9 }, fallbackRate: 1 })
    const [webhook] = body.webhooks
    expect(webhook).toMatchObject({ exchanges: 9, timeouts: 9, lateReplies: 8, unheard: 1 })
    expect(webhook.p95).toBeGreaterThan(820)
    expect(webhook.p95).toBeLessThan(1500)
  })

  it('does not hold up the end of the process', async () => {
    const ending = await startRelevo()
    const ended = await createAccount(ending)
    await createWebhook(ending, ended, tenant.url)
    tenant.always(silence())
    await ended.meta.init('late')
    const startedAt = performance.now()
    await ending.close()
    expect(performance.now() - startedAt).toBeLessThan(4000)
    expect(tenant.openSockets).toBe(0)
  })
})
