import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { runLoad } from '../../src/simulator/load.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import { createMetaClient } from '../../src/simulator/meta-client.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { createTestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { runRelevo } from '../support/process.ts'
import { create, createAccount, createWebhook, startRelevo } from '../support/relevo.ts'
import { startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const ping = { version: '3.0', action: 'ping' }

describe('rotating the master key', () => {
  it('reseals everything while two processes serve, in the order of the contract', async () => {
    const database = await createTestDatabase()
    const [oldKey, newKey] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]
    const tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    const before = await startRelevo({ MASTER_KEY: oldKey, MASTER_KEYS_PREVIOUS: newKey }, { database })
    const account = await createAccount(before, { accessToken: 'an-access-token' })
    await createWebhook(before, account, tenant.url, { headers: { 'X-Own': 'value' } })
    const body = { name: 'Twice', url: 'https://example.com/hook', events: ['whatsapp.flows.completed'] }
    const repeated = { token: account.token, body, headers: { 'idempotency-key': 'once' } }
    const made = await before.api('POST', '/v1/webhooks', repeated)

    // The coming key is known everywhere; now one process after the other takes it as its own, and reseal runs.
    const after = await startRelevo({ MASTER_KEY: newKey, MASTER_KEYS_PREVIOUS: oldKey }, { database })
    const late = await createAccount(after)
    const environment = {
      DATABASE_URL: database.url,
      MASTER_KEY: newKey,
      MASTER_KEYS_PREVIOUS: oldKey,
      ADMIN_TOKEN: before.config.ADMIN_TOKEN,
    }
    const reseal = runRelevo(['reseal'], environment)
    expect(await reseal.ended()).toBe(0)
    // App secret, flow key, access token, two webhook secrets, webhook headers, the answer that can be asked for again.
    expect(reseal.output()).toContain('7 stored secrets')
    for (const relevo of [before, after]) {
      const metaOf = (wabaId: string) => `${relevo.url}/api/whatsapp/flows/${wabaId}/data`
      for (const { meta, wabaId } of [account, late]) {
        await eventually(async () => (await fetch(metaOf(wabaId), { method: 'POST' })).status === 432)
        expect((await meta.call(ping, { at: metaOf(wabaId) })).status).toBe(200)
      }
    }
    await before.close()
    await after.close()

    // The old key is gone.
    const alone = await startRelevo({ MASTER_KEY: newKey }, { database })
    const answer = await account.meta.init('t', { at: `${alone.url}/api/whatsapp/flows/${account.wabaId}/data` })
    expect(answer.answer).toEqual({ screen: 'A', data: {} })
    expect(tenant.received.at(-1)?.headers).toMatchObject({
      'x-own': 'value',
      'x-webhook-signature': expect.any(String),
    })
    const again = await alone.api('POST', '/v1/webhooks', repeated)
    expect(again).toMatchObject({ status: 201, body: made.body })
    await alone.close()
    await tenant.close()
    await database.drop()
  })

  it('says so when a key is missing', async () => {
    const database = await createTestDatabase()
    const relevo = await startRelevo({}, { database })
    await createAccount(relevo)
    await relevo.close()
    const environment = {
      DATABASE_URL: database.url,
      MASTER_KEY: randomBytes(32).toString('base64'),
      ADMIN_TOKEN: relevo.config.ADMIN_TOKEN,
    }
    const reseal = runRelevo(['reseal'], environment)
    expect(await reseal.ended()).toBe(1)
    expect(reseal.output()).toContain('2 do not open')
    await database.drop()
  })
})

describe('rotating a flow key', () => {
  it('fails no exchange under load: both keys open, then the old one is retired', async () => {
    const relevo = await startRelevo()
    const account = await createAccount(relevo)
    const tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    await createWebhook(relevo, account, tenant.url)
    const { endpointUri, appSecret, publicKey, token, wabaId } = account
    const client = createMetaClient({ endpointUri, publicKeyPem: publicKey, appSecret })
    let current = client

    const load = runLoad({
      client: { exchange: (message) => current.exchange(message), close: () => undefined },
      rate: 25,
      seconds: 4,
      next: () => ({
        message: writeMessage({ name: 'open', action: 'INIT' }, newFlowToken()),
        judge: ({ problem, answer }) => problem ?? (answer?.screen === 'A' ? null : 'wrong screen'),
      }),
    })
    const made = await create(relevo, `/v1/wabas/${wabaId}/flow-keys`, {}, token)
    // The phones still use the old key for a while, then the new one.
    await eventually(() => tenant.received.length > 35)
    current = createMetaClient({ endpointUri, publicKeyPem: made.publicKey, appSecret })
    await eventually(() => tenant.received.length > 65)
    const { body } = await relevo.api('GET', `/v1/wabas/${wabaId}/flow-keys`, { token })
    const [oldKey] = body.data.filter(({ id }: { id: string }) => id !== made.id)
    expect((await relevo.api('DELETE', `/v1/wabas/${wabaId}/flow-keys/${oldKey.id}`, { token })).status).toBe(204)
    const summary = await load
    expect(summary).toMatchObject({ planned: 100, right: 100, wrong: 0, lost: 0, fallback: 0 })

    const metrics = await (
      await fetch(`${relevo.url}/metrics`, { headers: { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` } })
    ).text()
    for (const id of [oldKey.id, made.id]) expect(metrics).toMatch(new RegExp(`flow_key="${id}"} [1-9]`))
    expect((await account.meta.call(ping)).status).toBe(421)
    const last = await relevo.api('DELETE', `/v1/wabas/${wabaId}/flow-keys/${made.id}`, { token })
    expect(last).toMatchObject({ status: 409, body: { code: 'last_flow_key' } })
    client.close()
    current.close()
    await tenant.close()
    await relevo.close()
  })
})

describe('a change whose notification was lost', () => {
  it('is in force within 10 s', async () => {
    const database = await createTestDatabase()
    const relevo = await startRelevo({}, { database })
    const account = await createAccount(relevo)
    const tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    await createWebhook(relevo, account, tenant.url)
    const sql = postgres(database.url, { max: 1 })
    // As a late commit of another process would look whose NOTIFY nobody heard.
    await sql.begin(async (tx) => {
      await tx`update webhooks set active = false`
      await tx`update workspaces set config_version = config_version + 1`
    })
    await sql.end()
    const inactive = async () => (await account.meta.init(newFlowToken())).answer.screen === undefined
    await eventually(inactive, { timeoutMs: 10_000, everyMs: 100 })
    await relevo.close()
    await tenant.close()
    await database.drop()
  })
})
