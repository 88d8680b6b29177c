import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startHangingPort, startTenant } from '../support/tenant.ts'
import { delayed, dripping, silence } from '../support/tenant-behaviours.ts'

const acknowledged = '{"data":{"acknowledged":true}}'
const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/**
 * Issue 2 asks for the fallback on the wire 700 to 710 ms after the request to the webhook was dispatched, as a median of
 * 20. What is asserted never depends on a quiet machine: never early, for each; the medians are printed, and bounded so
 * loosely that only a deadline that does not work breaks them.
 */
describe('the deadline of 700 ms', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo()
    tenant = await startTenant()
  })
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  /** 20 exchanges at once, so that the test takes one deadline; the rows' own clocks are then read. */
  async function twenty(account: TestAccount) {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => account.meta.init(`deadline-${n}`)))
    const rows = await relevo.exchanges(account, 20)
    return { answers, webhookMs: rows.map((row): number => row.webhookMs) }
  }

  it('relays an answer that comes at 600 ms', async () => {
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
    tenant.always(delayed(600, { screen: 'A', data: {} }))
    // One at a time: twenty at once take a slow machine more than the 100 ms that are left.
    for (let call = 0; call < 3; call++) {
      const { answer } = await account.meta.init(`in-time-${call}`)
      expect(answer.screen).toBe('A')
    }
  })

  const late = [
    ['an answer at 750 ms', delayed(750, { screen: 'A', data: {} })],
    ['a dripping body', dripping(1, 50)],
    ['a silent socket', silence()],
  ] as const
  it.each(late)('falls back on %s', async (name, behaviour) => {
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url, { breaker: { mode: 'off' } })
    tenant.always(behaviour)
    await check(name, account)
  })

  it('falls back on a connect that hangs', async () => {
    const port = await startHangingPort()
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, `http://127.0.0.1:${port.port}/hook`, { breaker: { mode: 'off' } })
    await check('a connect that hangs', account)
    await port.close()
  })

  async function check(name: string, account: TestAccount): Promise<void> {
    const { answers, webhookMs } = await twenty(account)
    expect(answers.map(({ text }) => text)).toEqual(Array(20).fill(acknowledged))
    console.info(`${name}: median ${median(webhookMs).toFixed(1)} ms, least ${Math.min(...webhookMs).toFixed(1)} ms`)
    expect(Math.min(...webhookMs)).toBeGreaterThanOrEqual(700)
    expect(median(webhookMs)).toBeLessThan(1000)
  }

  it("keeps a webhook's own timeoutMs and tells it the time it has", async () => {
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url, { timeoutMs: 150 })
    tenant.always(silence())
    await account.meta.init('short')
    const [row] = await relevo.exchanges(account, 1)
    expect(row.webhookMs).toBeGreaterThanOrEqual(150)
    expect(row.webhookMs).toBeLessThan(700)
    expect(tenant.received.at(-1)?.headers['x-webhook-timeout-ms']).toBe('150')
  })
})
