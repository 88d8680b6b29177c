import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { fakeMeta } from '../support/meta.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const acknowledged = '{"data":{"acknowledged":true}}'

/** contract.md §3 "Breaker and bounds": each process has its own, the webhook's resource shows all, and closing reaches all. */
describe('the breaker of a webhook, and two processes', () => {
  let database: TestDatabase
  let here: TestRelevo
  let there: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount
  let webhookId: string

  beforeAll(async () => {
    database = await createTestDatabase()
    here = await startRelevo({}, { database })
    const { MASTER_KEY, ADMIN_TOKEN } = here.config
    there = await startRelevo({ MASTER_KEY, ADMIN_TOKEN }, { database })
    tenant = await startTenant()
    account = await createAccount(here)
    webhookId = (await createWebhook(here, account, tenant.url)).id
    const endpointThere = `${there.url}/api/whatsapp/flows/${account.wabaId}/data`
    await eventually(async () => (await fetch(endpointThere, { method: 'POST' })).status === 432)
  })
  afterAll(async () => {
    await tenant.close()
    await here.close()
    await there.close()
    await database.drop()
  })

  const metaOf = ({ url }: TestRelevo) =>
    fakeMeta({ ...account, endpointUri: `${url}/api/whatsapp/flows/${account.wabaId}/data` })
  const breakersAt = async (relevo: TestRelevo) =>
    (await relevo.api('GET', `/v1/webhooks/${webhookId}`, { token: account.token })).body.breakers
  async function metric(relevo: TestRelevo, name: string): Promise<number> {
    const headers = { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` }
    const page = await (await fetch(`${relevo.url}/metrics`, { headers })).text()
    const line = page.split('\n').find((it) => it.startsWith(`${name} `))
    return Number(line?.split(' ')[1] ?? 0)
  }

  async function probesOf(relevo: TestRelevo): Promise<number> {
    const ofResult = ['success', 'failure', 'neutral'].map((it) =>
      metric(relevo, `relevo_breaker_probes_total{result="${it}"}`),
    )
    return (await Promise.all(ofResult)).reduce((a, b) => a + b)
  }

  /** Until it opens: a slow machine may take longer over the calls than the window is long. */
  async function failUntilOpen(relevo: TestRelevo): Promise<void> {
    tenant.always(reply({}, 503))
    const meta = metaOf(relevo)
    const opened = async () => (await metric(relevo, 'relevo_breakers{state="open"}')) === 1
    await eventually(
      async () => {
        await Promise.all(Array.from({ length: 20 }, () => meta.init()))
        return opened()
      },
      { timeoutMs: 20_000 },
    )
  }

  it('opens where it failed; people are answered at once, the webhook is left alone, and both processes show it', async () => {
    await failUntilOpen(here)
    const calls = async () => [tenant.received.length, await probesOf(here)] as const
    const [callsBefore, probesBefore] = await calls()
    const answers = await Promise.all(Array.from({ length: 10 }, () => metaOf(here).init()))
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set([acknowledged]))
    const [callsAfter, probesAfter] = await calls()
    // None, unless the machine took 5 s over this: then one goes out to probe.
    expect(callsAfter - callsBefore).toBe(probesAfter - probesBefore)
    expect(callsAfter - callsBefore).toBeLessThanOrEqual(1)

    const shownThere = await eventually(async () => {
      const shown = await breakersAt(there)
      return shown.length === 1 ? shown : null
    })
    expect(shownThere).toEqual([
      {
        process: expect.stringMatching(/^\d+-[0-9a-f]{6}$/),
        state: expect.stringMatching(/open/),
        since: expect.any(String),
      },
    ])
    expect(Date.now() - Date.parse(shownThere[0].since)).toBeLessThan(60_000)
    expect((await breakersAt(here))[0].process).toBe(shownThere[0].process)
    const list = await there.api('GET', '/v1/webhooks', { token: account.token })
    expect(list.body.data[0].breakers[0].process).toBe(shownThere[0].process)
    const [line] = here.logs.filter(({ msg }) => msg === 'the breaker of a webhook opened')
    expect(line).toMatchObject({
      level: 'warn',
      webhookId,
      workspaceId: account.workspaceId,
      process: shownThere[0].process,
    })
  })

  it('what it answers is inside the metrics of latency', async () => {
    const open = 'relevo_exchange_duration_seconds_count{outcome="breaker_open"}'
    expect(await metric(here, open)).toBeGreaterThanOrEqual(9)
    expect(await metric(here, 'relevo_webhook_duration_seconds_count{outcome="breaker_open"}')).toBe(0)
    expect(await metric(here, 'relevo_breaker_transitions_total{to="open"}')).toBeGreaterThanOrEqual(1)
    expect(await metric(there, 'relevo_breakers{state="closed"}')).toBe(0)
  })

  it('is half open after 5 s, for all to see, without a call', async () => {
    const shown = await eventually(
      async () => {
        const [breaker] = await breakersAt(there)
        return breaker.state === 'half_open' ? breaker : null
      },
      { timeoutMs: 20_000 },
    )
    expect(await metric(here, 'relevo_breakers{state="half_open"}')).toBe(1)
    expect(Date.parse(shown.since)).toBeLessThanOrEqual(Date.now())
  })

  it('is closed by hand on the other process before that answers, and here by the change that it makes', async () => {
    await failUntilOpen(there)
    await eventually(async () => (await breakersAt(here)).length === 2)
    const path = `/v1/webhooks/${webhookId}/close-breaker`
    const closed = await there.api('POST', path, { token: account.token })
    expect(closed).toMatchObject({ status: 200, body: { id: webhookId, breakers: [] } })
    expect(await metric(there, 'relevo_breaker_transitions_total{to="closed"}')).toBe(1)
    await eventually(async () => (await metric(here, 'relevo_breaker_transitions_total{to="closed"}')) === 1)
    // By hand, and not by probes.
    for (const relevo of [here, there])
      expect(await metric(relevo, 'relevo_breaker_probes_total{result="success"}')).toBe(0)
    await eventually(async () => (await breakersAt(here)).length === 0)

    tenant.always(reply({ screen: 'A', data: {} }))
    const metas = [metaOf(here), metaOf(there)]
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => metas[n % 2]?.init()))
    expect(new Set(answers.map((it) => it?.answer.screen))).toEqual(new Set(['A']))
  })

  it('closed already, closing is no error; it needs the right to write, and a webhook', async () => {
    const path = `/v1/webhooks/${webhookId}/close-breaker`
    const again = await here.api('POST', path, { token: account.token })
    expect(again).toMatchObject({ status: 200, body: { breakers: [] } })
    const unknown = `/v1/webhooks/${webhookId.slice(0, -1)}${webhookId.endsWith('0') ? '1' : '0'}/close-breaker`
    expect((await here.api('POST', unknown, { token: account.token })).status).toBe(404)
    const log = await here.api('GET', '/v1/audit-log', { token: account.token })
    const entry = { action: 'POST /v1/webhooks/:id/close-breaker', resourceId: webhookId, status: 200 }
    expect(log.body.data).toEqual(expect.arrayContaining([expect.objectContaining(entry)]))
  })

  it('is closed by putting it off, and what a process said is gone with it when it ends', async () => {
    await failUntilOpen(here)
    await eventually(async () => (await breakersAt(there)).length === 1)
    const off = { body: { breaker: { mode: 'off' } }, token: account.token }
    expect((await there.api('PATCH', `/v1/webhooks/${webhookId}`, off)).status).toBe(200)
    await eventually(async () => (await breakersAt(there)).length === 0)
    const on = { body: { breaker: { mode: 'on' } }, token: account.token }
    expect((await here.api('PATCH', `/v1/webhooks/${webhookId}`, on)).status).toBe(200)

    await failUntilOpen(here)
    await eventually(async () => (await breakersAt(there)).length === 1)
    await here.stop()
    expect(await breakersAt(there)).toEqual([])
  })
})
