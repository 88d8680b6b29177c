import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StartRefused } from '../../src/app/start-refused.ts'
import { type AppConfig, createApp } from '../../src/app.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

describe('a database that goes away', () => {
  let database: TestDatabase
  let proxy: TcpProxy
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount

  beforeEach(async () => {
    database = await createTestDatabase()
    proxy = await startProxy(database.url)
    relevo = await startRelevo({}, { database: { url: proxy.url, drop: database.drop } })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
  })
  afterEach(async () => {
    await relevo.close()
    await tenant.close()
    await proxy.close()
    await database.drop()
  })

  const ways = [
    ['dead', () => proxy.cut()],
    ['stalled', async () => proxy.freeze()],
  ] as const
  it.each(ways)(
    '%s: known WABAs are answered with the tenant’s reply, and the rows come later',
    async (_name, leave) => {
      expect((await account.meta.init('before')).answer.screen).toBe('NEXT')
      await leave()
      for (let call = 0; call < 5; call++) {
        expect((await account.meta.init(`away-${call}`)).answer).toEqual({ screen: 'NEXT', data: {} })
      }
      const envelope = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '')
      expect(envelope.data).toMatchObject({ client: null, conversation: null })
      expect(envelope.data.flowResponse).toEqual({ flowToken: 'away-4', status: 'IN_PROGRESS' })
      expect((await fetch(`${relevo.url}/readyz`)).status).toBe(200)

      await proxy.restore()
      // A write that hung while the database went is given up after 5 s and made again.
      const rows = await relevo.exchanges(account, 6, 15_000)
      expect(rows.map((row) => row.flowToken)).toEqual(['before', ...[0, 1, 2, 3, 4].map((call) => `away-${call}`)])
      const { body } = await relevo.api('GET', '/v1/flow-responses?flowToken=away-3', { token: account.token })
      expect(body.data[0]).toMatchObject({ status: 'IN_PROGRESS' })
    },
  )

  it('hears of changes again once it is back', async () => {
    await proxy.cut()
    await account.meta.init('away')
    await proxy.restore()
    await relevo.exchanges(account, 1, 15_000)
    const other = await startRelevo({ MASTER_KEY: relevo.config.MASTER_KEY }, { database })
    const late = await createAccount(other)
    const here = `${relevo.url}/api/whatsapp/flows/${late.wabaId}/data`
    // The other process made the WABA: this one hears of it, or compares versions.
    await eventually(async () => (await fetch(here, { method: 'POST' })).status !== 404, { timeoutMs: 10_000 })
    await other.close()
  })

  it('answers the API with 503 while it is away', async () => {
    await proxy.cut()
    const answer = await relevo.api('GET', '/v1/webhooks', { token: account.token })
    expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    await proxy.restore()
  })
})

describe('a database that is not as it should be', () => {
  it('the API says where the cause is, and there it is', async () => {
    const relevo = await startRelevo()
    const account = await createAccount(relevo)
    const sql = postgres(relevo.database.url, { max: 1 })
    await sql`alter table webhooks rename to others`
    await sql.end()
    const answer = await relevo.api('GET', '/v1/webhooks', { token: account.token })
    expect(answer).toMatchObject({ status: 500, body: { detail: expect.stringContaining('its cause is in the log') } })
    expect(relevo.logs.find(({ level, route }) => level === 'error' && route === 'GET /v1/webhooks')).toMatchObject({
      error: { name: 'StorageError', operation: 'list webhooks', code: '42P01' },
    })
    await relevo.close()
  })
})

describe('a database that is not there at the start', () => {
  it('is loaded from once it comes', async () => {
    const database = await createTestDatabase()
    const proxy = await startProxy(database.url)
    await proxy.cut()
    const relevo = await startRelevo({}, { database: { url: proxy.url, drop: database.drop } })
    expect((await fetch(`${relevo.url}/readyz`)).status).toBe(503)
    await proxy.restore()
    await eventually(async () => (await fetch(`${relevo.url}/readyz`)).status === 200)
    const account = await createAccount(relevo)
    expect((await account.meta.call({ action: 'ping' })).answer).toEqual({ data: { status: 'active' } })
    await relevo.close()
    await proxy.close()
    await database.drop()
  })
})

describe('a database that is not there at the start, and does not fit when it comes', () => {
  it.each(['all', 'worker'])('role %s sends none of its deliveries: they would be unsigned', async (ROLE) => {
    const database = await createTestDatabase()
    const [tenant, observer] = [await startTenant(), await startTenant()]
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    observer.always(reply({}))
    const relay = await startRelevo({ ROLE: 'relay' }, { database })
    const { MASTER_KEY, ADMIN_TOKEN } = relay.config
    const api = await startRelevo({ ROLE: 'api', MASTER_KEY, ADMIN_TOKEN }, { database })
    const account = await createAccount(api)
    await createWebhook(api, account, tenant.url)
    await createWebhook(api, account, observer.url)
    const at = account.endpointUri.replace(api.url, relay.url)
    const hasDelivery = async () => {
      await account.meta.init(null, { at })
      const { body } = await api.api('GET', '/v1/deliveries', { token: account.token })
      return body.data.length > 0
    }
    await eventually(hasDelivery, { timeoutMs: 10_000, everyMs: 100 })

    const proxy = await startProxy(database.url)
    await proxy.cut()
    const lines: string[] = []
    const logDestination = { write: (line: string) => void lines.push(JSON.parse(line).msg) }
    const refused = Promise.withResolvers<StartRefused>()
    const config = { ...api.config, ROLE, MASTER_KEY: randomBytes(32).toString('base64'), DATABASE_URL: proxy.url }
    const other = createApp(config as AppConfig, { logDestination, refused: refused.resolve })
    await other.listen()
    const asked = /^(configuration not loaded|not ready)/
    await eventually(() => lines.filter((line) => asked.test(line)).length >= 3)
    expect(lines).not.toContain('the queue of deliveries was not looked at')
    await proxy.restore()
    expect((await refused.promise).message).toContain('MASTER_KEY')
    await other.close()
    expect(observer.received).toEqual([])

    const worker = await startRelevo({ ROLE: 'worker', MASTER_KEY, ADMIN_TOKEN }, { database })
    await eventually(() => observer.received.length > 0)
    expect(observer.received[0]?.headers).toMatchObject({
      'x-webhook-attempt': '1',
      'webhook-signature': expect.stringMatching(/^v1,/),
    })
    for (const part of [worker, api, relay]) await part.close()
    await Promise.all([tenant.close(), observer.close(), proxy.close()])
    await database.drop()
  })
})

describe('two processes on one database', () => {
  it('a change on one is in force on the other within a second', async () => {
    const database = await createTestDatabase()
    const first = await startRelevo({}, { database })
    const second = await startRelevo({ MASTER_KEY: first.config.MASTER_KEY }, { database })
    const account = await createAccount(first)
    const there = `${second.url}/api/whatsapp/flows/${account.wabaId}/data`
    await eventually(async () => (await fetch(there, { method: 'POST' })).status === 432, { timeoutMs: 1000 })
    await first.close()
    await second.close()
    await database.drop()
  })
})
