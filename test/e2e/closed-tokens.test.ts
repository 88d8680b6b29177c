import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const success = { screen: 'SUCCESS', data: { extension_message_response: { params: { flow_token: 't' } } } }

describe('refuseClosedTokens', () => {
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant
  let flowId: string

  beforeAll(async () => {
    relevo = await startRelevo()
    account = await createAccount(relevo)
    tenant = await startTenant()
    await createWebhook(relevo, account, tenant.url)
    const flow = { wabaId: account.wabaId, metaFlowId: '1', refuseClosedTokens: { message: 'This offer has ended.' } }
    flowId = (await create(relevo, '/v1/flows', flow, account.token)).id
    await create(relevo, '/v1/flow-responses', { flowToken: 'old', expiresAt: '2020-01-01T00:00:00Z' }, account.token)
  })
  afterAll(async () => {
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
  })

  it("answers an expired token with an encrypted 427 and the flow's message, without asking the webhook", async () => {
    const { status, answer } = await account.meta.init('old')
    expect({ status, answer }).toEqual({ status: 427, answer: { error_msg: 'This offer has ended.' } })
    const [row] = await relevo.exchanges(account, 1)
    expect(row).toMatchObject({ outcome: 'token_refused', webhookId: null, flowId })
  })

  it('lets a completed token go on for 10 min, and no longer', async () => {
    tenant.next(reply(success), reply(success))
    expect((await account.meta.exchange('SUMMARY', {}, 'done')).status).toBe(200)
    expect((await account.meta.exchange('SUMMARY', {}, 'done')).status).toBe(200)
    await relevo.exchanges(account, 3)
    const sql = postgres(relevo.database.url, { max: 1 })
    await sql`update flow_responses set completed_at = completed_at - interval '10 min 1 s' where flow_token = 'done'`
    await sql.end()
    expect((await account.meta.exchange('SUMMARY', {}, 'done')).status).toBe(427)
  })

  it('is off where the flow does not ask for it', async () => {
    const body = { refuseClosedTokens: null }
    const patch = await relevo.api('PATCH', `/v1/flows/${flowId}`, { body, token: account.token })
    expect(patch).toMatchObject({ status: 200, body })
    tenant.next(reply({ screen: 'A', data: {} }))
    expect((await account.meta.init('old')).status).toBe(200)
  })
})
