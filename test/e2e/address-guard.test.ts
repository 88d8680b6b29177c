import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'

/** Loopback is exempt; `tenant` must hear nothing. */
let relevo: TestRelevo
let account: TestAccount
let tenant: FakeTenant
let sql: postgres.Sql
/** The webhook that is asked, and the one that is told of it. */
let answering: string
let told: string
let exchanges = 0

beforeAll(async () => {
  relevo = await startRelevo({ WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' })
  ;[account, tenant] = await Promise.all([createAccount(relevo), startTenant()])
  sql = postgres(relevo.database.url, { max: 1 })
  answering = (await createWebhook(relevo, account, tenant.url)).id
  told = (await createWebhook(relevo, account, tenant.url)).id
})
afterAll(async () => {
  expect(tenant.received).toEqual([])
  await sql.end()
  await tenant.close()
  await relevo.close()
})

const refused: [string, (url: URL) => string][] = [
  ['credentials', (url) => `http://user:password@${url.host}/hook`],
  ['a port of others', () => 'http://127.0.0.1:22/hook'],
  ['an address of the cloud', () => 'http://169.254.169.254/latest/meta-data'],
  ['an address in another form', (url) => `http://[::1]:${url.port}/hook`],
  ['a translated one', (url) => `http://[64:ff9b::7f00:1]:${url.port}/hook`],
  ['another scheme', (url) => `ftp://${url.host}/hook`],
]

it.each(refused)('%s: refused when a webhook is made and when it is changed', async (_, urlOf) => {
  const url = urlOf(new URL(tenant.url))
  const { token } = account
  const answer = { status: 400, body: { errors: [{ path: 'url' }] } }
  const body = { name: 'Backend', url, events: ['whatsapp.flows.exchanges'] }
  expect(await relevo.api('POST', '/v1/webhooks', { token, body })).toMatchObject(answer)
  expect(await relevo.api('PATCH', `/v1/webhooks/${answering}`, { token, body: { url } })).toMatchObject(answer)
})

/** As another version, or the operator's hand, would have left it. */
async function writeUrl(url: string): Promise<void> {
  await sql`update webhooks set url = ${url} where workspace_id = ${account.workspaceId}`
  // So that what is in memory is read anew.
  await relevo.api('PATCH', `/v1/webhooks/${told}`, { token: account.token, body: { name: 'Renamed' } })
}

describe('in a row that is there, it is called by no exchange, no asynchronous delivery and no test:', () => {
  it.each(refused)('%s', async (_, urlOf) => {
    await writeUrl(urlOf(new URL(tenant.url)))
    await account.meta.init('token')
    exchanges += 1
    const exchange = (await relevo.exchanges(account, exchanges)).at(-1)
    expect(exchange).toMatchObject({ outcome: 'address_blocked', webhookId: answering })
    const delivery = await eventually(async () => {
      const { body } = await relevo.api('GET', `/v1/deliveries?eventId=${exchange.id}`, { token: account.token })
      return body.data.find((one: { attemptCount: number }) => one.attemptCount === 1)
    })
    expect(delivery).toMatchObject({ webhookId: told, lastStatus: null, lastFailure: 'address_blocked' })
    const { attempt } = await create(relevo, `/v1/webhooks/${answering}/test`, {}, account.token)
    expect(attempt).toMatchObject({ status: null, failure: 'address_blocked', connectMs: null, bytes: 0 })
  })
})
