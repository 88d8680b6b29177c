import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { create, createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

describe('how the flow is told', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    // A busy machine must not change what is tested here.
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
  })
  afterAll(async () => {
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
  })

  const flowJson = (...screens: string[]) => ({
    version: '7.1',
    data_api_version: '3.0',
    screens: screens.map((id) => ({ id })),
  })
  // biome-ignore lint/suspicious/noExplicitAny: the flow of an envelope
  const lastFlow = (): any => JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? 'null').data.flow

  /** An account with these flows: their screens or Flow JSON; null where only the id is known. */
  async function accountWith(flows: Record<string, string[] | object | null>) {
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
    const { token, wabaId } = account
    const ids: Record<string, string> = {}
    for (const [metaFlowId, screens] of Object.entries(flows)) {
      const known = screens === null ? {} : { flowJson: Array.isArray(screens) ? flowJson(...screens) : screens }
      ids[metaFlowId] = (await create(relevo, '/v1/flows', { wabaId, metaFlowId, ...known }, token)).id
    }
    return { account, ids }
  }

  it('by the URL, before all else', async () => {
    const { account, ids } = await accountWith({ 'one-1': ['A'], 'two-2': ['B'] })
    const body = { flowToken: 'url', flowId: ids['one-1'] }
    await create(relevo, '/v1/flow-responses', body, account.token)
    await account.meta.exchange('A', {}, 'url', { metaFlowId: 'two-2' })
    expect(lastFlow().id).toBe(ids['two-2'])
    // Whose flow the token is was already said.
    const [row] = (await relevo.api('GET', '/v1/flow-responses?flowToken=url', { token: account.token })).body.data
    expect(row.flowId).toBe(ids['one-1'])
  })

  it('by the flow token’s row, before the screen', async () => {
    const { account, ids } = await accountWith({ one: ['A'], two: ['B'] })
    await create(relevo, '/v1/flow-responses', { flowToken: 'row', flowId: ids.one }, account.token)
    await account.meta.exchange('B', {}, 'row')
    expect(lastFlow().id).toBe(ids.one)
  })

  it('by what an earlier exchange of the token told', async () => {
    const { account, ids } = await accountWith({ one: ['A'], two: ['A'] })
    await account.meta.init('earlier', { metaFlowId: 'two' })
    await account.meta.exchange('A', {}, 'earlier')
    expect(lastFlow().id).toBe(ids.two)
    const rows = await relevo.exchanges(account, 2)
    expect(rows.map((row) => row.flowId)).toEqual([ids.two, ids.two])
  })

  it('by being the only one of the WABA, known by Flow JSON or by name alone', async () => {
    for (const screens of [['A'], null]) {
      const { account, ids } = await accountWith({ only: screens })
      await account.meta.exchange('ELSEWHERE', {}, null)
      expect(lastFlow().id).toBe(ids.only)
    }
  })

  it('by being the only one with an endpoint, among others that have none or are known by name alone', async () => {
    const withoutEndpoint = { version: '7.1', screens: [{ id: 'A' }] }
    const { account, ids } = await accountWith({ local: withoutEndpoint, remote: ['B'], named: null })
    await account.meta.exchange('A', {}, null)
    expect(lastFlow().id).toBe(ids.remote)
  })

  it('by being the only one with the screen', async () => {
    const { account, ids } = await accountWith({ one: ['A', 'BOTH'], two: ['B', 'BOTH'] })
    await account.meta.exchange('B', {}, null)
    expect(lastFlow()).toMatchObject({ id: ids.two, wabaId: account.wabaId, dataApiVersion: '3.0', jsonVersion: '7.1' })
  })

  it('never by a flow of another WABA of the workspace', async () => {
    const { account } = await accountWith({})
    const wabaId = `${account.wabaId}9`
    await create(relevo, '/v1/wabas', { wabaId }, account.token)
    const { id: flowId } = await create(relevo, '/v1/flows', { wabaId, metaFlowId: 'elsewhere' }, account.token)
    await create(relevo, '/v1/flow-responses', { flowToken: 'elsewhere', flowId }, account.token)
    for (const options of [{}, { metaFlowId: 'elsewhere' }]) {
      await account.meta.init('elsewhere', options)
      expect(lastFlow()).toEqual({ id: null, wabaId: account.wabaId })
    }
  })

  it('else not at all', async () => {
    const { account } = await accountWith({ one: ['A', 'BOTH'], two: ['B', 'BOTH'] })
    const unknown = { id: null, wabaId: account.wabaId }
    await account.meta.exchange('BOTH', {}, null)
    expect(lastFlow()).toEqual(unknown)
    await account.meta.exchange('NEITHER', {}, 'a-token')
    expect(lastFlow()).toEqual(unknown)
    await account.meta.init('another-token')
    expect(lastFlow()).toEqual(unknown)
  })
})
