import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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
import { reply } from '../support/tenant-behaviours.ts'

describe('past the enrichment budget', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount
  let clients: { release(): Promise<void> } | null = null

  beforeEach(async () => {
    relevo = await startRelevo({ ENRICHMENT_BUDGET_MS: '50', DEADLINE_MS: '700' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
  })
  afterEach(async () => {
    await clients?.release()
    clients = null
    await tenant.close()
    await relevo.close()
  })

  const rowOf = async (flowToken: string) => {
    const { body } = await relevo.api('GET', `/v1/flow-responses?flowToken=${flowToken}`, { token: account.token })
    return body.data[0]
  }

  it('an exchange goes on without its records, and its row is there afterwards', async () => {
    const known = { flowToken: 'late-known', phoneNumber: '+5210000000006', messageId: 'wamid.late' }
    await create(relevo, '/v1/flow-responses', known, account.token)
    clients = await lockTable(relevo.database.url, 'clients')
    for (const flowToken of ['late-known', 'late-new']) {
      const answer = await account.meta.init(flowToken)
      expect(answer.answer).toEqual({ screen: 'A', data: {} })
      expect(answer.ms).toBeLessThan(50 + 700)
      const { data } = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? 'null')
      expect(data).toMatchObject({ client: null, conversation: null })
      expect(data.flowResponse).toEqual({ flowToken, status: 'IN_PROGRESS' })
    }
    await clients.release()

    const rows = await relevo.exchanges(account, 2)
    expect(rows.map((row) => row.flowToken)).toEqual(['late-known', 'late-new'])
    const opened = { status: 'IN_PROGRESS', openedAt: expect.any(String) }
    expect(await rowOf('late-known')).toMatchObject({
      ...opened,
      messageId: 'wamid.late',
      clientId: expect.any(String),
    })
    expect(await rowOf('late-new')).toMatchObject({ ...opened, clientId: null })
  })

  it('an expired token is not opened', async () => {
    const expired = { flowToken: 'late-expired', expiresAt: '2020-01-01T00:00:00.000Z' }
    await create(relevo, '/v1/flow-responses', expired, account.token)
    clients = await lockTable(relevo.database.url, 'clients')
    tenant.next(reply({ screen: 'SUCCESS', data: {} }))
    await account.meta.init('late-expired')
    await clients.release()
    await relevo.exchanges(account, 1)
    expect(await rowOf('late-expired')).toMatchObject({ status: 'EXPIRED', openedAt: null, completedAt: null })
  })

  it('reads that nobody waits for any more do not keep rows from being written', async () => {
    clients = await lockTable(relevo.database.url, 'clients')
    // More than the relay has connections.
    for (let call = 0; call < 20; call++) await account.meta.init(`locked-${call}`)
    const written = async () => {
      const { body } = await relevo.api('GET', '/v1/exchanges?outcome=replied', { token: account.token })
      return body.data.length === 20
    }
    await eventually(written, { timeoutMs: 4000 })
  })
})

/** Holds a table against every reader and writer. */
async function lockTable(databaseUrl: string, table: string): Promise<{ release(): Promise<void> }> {
  const sql = postgres(databaseUrl, { max: 1 })
  const { promise: locked, resolve: isLocked } = Promise.withResolvers<void>()
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const held = sql.begin(async (tx) => {
    await tx`lock table ${tx(table)} in access exclusive mode`
    isLocked()
    await released
  })
  await Promise.race([locked, held])
  return {
    async release() {
      release()
      await held
      await sql.end()
    },
  }
}
