import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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
