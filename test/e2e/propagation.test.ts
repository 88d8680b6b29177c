import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { create, createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

/** contract.md §8: at once on the process that took the change, within a second on the others; a revoked key at once on all. */
describe('changes and two processes', () => {
  let database: TestDatabase
  let here: TestRelevo
  let there: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    database = await createTestDatabase()
    here = await startRelevo({}, { database })
    there = await startRelevo(
      { MASTER_KEY: here.config.MASTER_KEY, ADMIN_TOKEN: here.config.ADMIN_TOKEN },
      { database },
    )
    tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
  })
  afterAll(async () => {
    await tenant.close()
    await here.close()
    await there.close()
    await database.drop()
  })

  it('a webhook that is switched off is off at once here, and within a second there', async () => {
    const account = await createAccount(here)
    const webhook = await createWebhook(here, account, tenant.url)
    const endpointThere = `${there.url}/api/whatsapp/flows/${account.wabaId}/data`
    const screenThere = async () => (await account.meta.init(null, { at: endpointThere })).answer.screen
    await eventually(async () => (await fetch(endpointThere, { method: 'POST' })).status === 432, { timeoutMs: 1000 })
    await eventually(async () => (await screenThere()) === 'A', { timeoutMs: 1000 })

    const { token } = account
    const patch = await here.api('PATCH', `/v1/webhooks/${webhook.id}`, { body: { active: false }, token })
    expect(patch.status).toBe(200)
    expect((await account.meta.init()).answer.screen).toBeUndefined()
    await eventually(async () => (await screenThere()) === undefined, { timeoutMs: 1000 })
  })

  it('a revoked key is dead at once on both', async () => {
    const workspace = await create(here, '/v1/workspaces', { name: 'W' })
    const made = await create(here, `/v1/workspaces/${workspace.id}/api-keys`, { name: 'K' })
    expect((await there.api('GET', '/v1/webhooks', { token: made.key })).status).toBe(200)
    const path = `/v1/workspaces/${workspace.id}/api-keys/${made.id}`
    expect((await here.api('DELETE', path)).status).toBe(204)
    expect((await there.api('GET', '/v1/webhooks', { token: made.key })).status).toBe(401)
    expect((await here.api('GET', '/v1/webhooks', { token: made.key })).status).toBe(401)
    expect((await here.api('DELETE', path)).status).toBe(404)
  })

  it('a deleted workspace is forgotten by both', async () => {
    const account = await createAccount(here)
    const endpointThere = `${there.url}/api/whatsapp/flows/${account.wabaId}/data`
    await eventually(async () => (await fetch(endpointThere, { method: 'POST' })).status === 432, { timeoutMs: 1000 })
    expect((await here.api('DELETE', `/v1/workspaces/${account.workspaceId}`)).status).toBe(204)
    expect((await account.meta.call({ action: 'ping' })).status).toBe(404)
    await eventually(async () => (await fetch(endpointThere, { method: 'POST' })).status === 404, { timeoutMs: 1000 })
  })
})
