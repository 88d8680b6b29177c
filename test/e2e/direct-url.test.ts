import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createAccount, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts'

// contract.md §2 DATABASE_DIRECT_URL: what needs a session of its own goes past a pooler that keeps none.
let database: TestDatabase
let proxy: TcpProxy
let here: TestRelevo
let there: TestRelevo
let sql: postgres.Sql

beforeAll(async () => {
  database = await createTestDatabase()
  sql = postgres(database.url, { max: 1 })
  proxy = await startProxy(database.url)
  await proxy.cut()
  here = await startRelevo({ DATABASE_DIRECT_URL: named(database.url, 'direct') }, { database })
  const { MASTER_KEY, ADMIN_TOKEN } = here.config
  const DATABASE_DIRECT_URL = named(proxy.url, 'proxied')
  there = await startRelevo({ MASTER_KEY, ADMIN_TOKEN, DATABASE_DIRECT_URL }, { database })
}, 60_000)
afterAll(async () => {
  await here.close()
  await there.close()
  await proxy.close()
  await sql.end()
  await database.drop()
})

/** The name under which the server shows the sessions of a URL. */
function named(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl)
  url.searchParams.set('application_name', name)
  return url.href
}

async function listeners(): Promise<string[]> {
  const rows = await sql`
    select application_name from pg_stat_activity where datname = current_database() and query ilike 'listen %'`
  return rows.map((row) => row.application_name)
}

it('notifications come over the direct URL, and all else does not', async () => {
  expect(await listeners()).toEqual(['direct'])
  const [direct] = await sql`select count(*)::int from pg_stat_activity where application_name = 'direct'`
  expect(direct?.count).toBe(1)
})

it('where nobody answers there, Relevo starts, finds changes by comparing, and listens once it can', async () => {
  expect(there.logs.filter(({ msg }) => String(msg).startsWith('no notifications are heard'))).toHaveLength(1)
  const { wabaId } = await createAccount(here)
  const endpoint = `${there.url}/api/whatsapp/flows/${wabaId}/data`
  await eventually(async () => (await fetch(endpoint, { method: 'POST' })).status === 432, { timeoutMs: 10_000 })
  await proxy.restore()
  await eventually(async () => (await listeners()).includes('proxied'), { timeoutMs: 15_000, everyMs: 50 })
}, 60_000)
