import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { fakeMeta } from '../support/meta.ts'
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

const umbrella = ['whatsapp.flows.exchanges']
const granular = ['whatsapp.flows.init', 'whatsapp.flows.screen_advance', 'whatsapp.flows.back']
const acknowledged = '{"data":{"acknowledged":true}}'

/** contract.md §3 "Which webhook answers". Each webhook answers with its own name as the screen. */
describe('which webhook answers', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    // A busy machine must not change what is tested here.
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' })
    tenant = await startTenant()
    tenant.always((call) => reply({ screen: call.received.path.split('?').at(-1), data: {} })(call))
  })
  afterEach(() => tenant.assertNoSurprises())
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  /** An account with flows `one` and `two`; the calls below are of flow `one` unless they say otherwise. */
  async function accountWithFlows() {
    const account = await createAccount(relevo)
    const flow = async (metaFlowId: string): Promise<string> =>
      (await create(relevo, '/v1/flows', { wabaId: account.wabaId, metaFlowId }, account.token)).id
    return { account, one: await flow('one'), two: await flow('two') }
  }
  const add = (account: TestAccount, name: string, webhook: object) =>
    createWebhook(relevo, account, `${tenant.url}?${name}`, { name, ...webhook })
  const answererOf = async (account: TestAccount, metaFlowId = 'one') => {
    const { answer } = await account.meta.init('t', { metaFlowId })
    return answer.screen
  }

  it('the older one', async () => {
    const { account } = await accountWithFlows()
    const first = await add(account, 'FIRST', {})
    for (const name of ['SECOND', 'THIRD']) await add(account, name, {})
    expect(await answererOf(account)).toBe('FIRST')
    expect((await relevo.exchanges(account, 1))[0].webhookId).toBe(first.id)
  })

  it('a granular one before an umbrella one, however young', async () => {
    const { account } = await accountWithFlows()
    await add(account, 'UMBRELLA', { events: umbrella })
    await add(account, 'GRANULAR', { events: ['whatsapp.flows.init'] })
    await add(account, 'BOTH', { events: ['whatsapp.flows.init', ...umbrella] })
    expect(await answererOf(account)).toBe('GRANULAR')
    // For the events it does not take, the umbrella is all there is.
    expect((await account.meta.exchange('A', {}, 't', { metaFlowId: 'one' })).answer.screen).toBe('UMBRELLA')
  })

  it('one with both counts as granular', async () => {
    const { account } = await accountWithFlows()
    await add(account, 'UMBRELLA', { events: umbrella })
    await add(account, 'BOTH', { events: [...umbrella, 'whatsapp.flows.back'] })
    const { answer } = await account.meta.call({ action: 'BACK', screen: 'A', flow_token: 't' }, { metaFlowId: 'one' })
    expect(answer.screen).toBe('BOTH')
    expect(await answererOf(account)).toBe('UMBRELLA')
  })

  it('one with flowIds before one without, granular or not, however young', async () => {
    const { account, one, two } = await accountWithFlows()
    await add(account, 'GRANULAR', { events: granular })
    await add(account, 'OF_FLOW', { flowIds: [two, one], events: umbrella })
    expect(await answererOf(account)).toBe('OF_FLOW')
    expect(await answererOf(account, 'two')).toBe('OF_FLOW')
  })

  it('among those with flowIds: granular, then older', async () => {
    const { account, one } = await accountWithFlows()
    await add(account, 'UMBRELLA', { flowIds: [one] })
    await add(account, 'OLDER', { flowIds: [one], events: granular })
    await add(account, 'YOUNGER', { flowIds: [one], events: granular })
    expect(await answererOf(account)).toBe('OLDER')
  })

  it('none whose flowIds are of other flows, nor for a flow that cannot be told', async () => {
    const { account, two } = await accountWithFlows()
    await add(account, 'OTHER', { flowIds: [two] })
    expect((await account.meta.init('t', { metaFlowId: 'one' })).text).toBe(acknowledged)
    expect((await account.meta.init('t', { metaFlowId: 'unknown' })).text).toBe(acknowledged)
    expect((await account.meta.init('t')).text).toBe(acknowledged)
    const rows = await relevo.exchanges(account, 3)
    expect(rows.map((row) => row.outcome)).toEqual(Array(3).fill('no_webhook'))
    await add(account, 'ANY', {})
    expect(await answererOf(account)).toBe('ANY')
    expect(await answererOf(account, 'two')).toBe('OTHER')
  })

  it('none that is inactive', async () => {
    const { account, one } = await accountWithFlows()
    await add(account, 'INACTIVE', { active: false, flowIds: [one], events: granular })
    expect((await account.meta.init('t', { metaFlowId: 'one' })).text).toBe(acknowledged)
    await add(account, 'ACTIVE', {})
    expect(await answererOf(account)).toBe('ACTIVE')
  })

  it('none without the event', async () => {
    const { account } = await accountWithFlows()
    const others = ['whatsapp.flows.completed', 'whatsapp.flows.error', 'whatsapp.flows.fallback']
    await add(account, 'NOTICES', { events: others })
    await add(account, 'BACK', { events: ['whatsapp.flows.back'] })
    expect((await account.meta.init('t', { metaFlowId: 'one' })).text).toBe(acknowledged)
    const { answer } = await account.meta.call({ action: 'BACK', screen: 'A', flow_token: 't' }, { metaFlowId: 'one' })
    expect(answer.screen).toBe('BACK')
  })

  it('none of another workspace', async () => {
    const other = await createAccount(relevo)
    await add(other, 'OTHER', {})
    const account = await createAccount(relevo)
    expect((await account.meta.init('t')).text).toBe(acknowledged)
  })

  it('for every WABA of the workspace', async () => {
    const account = await createAccount(relevo)
    await add(account, 'WEBHOOK', {})
    // A WABA that comes after its webhook.
    const wabaId = `${account.wabaId}9`
    const body = { wabaId, appSecrets: ['second-waba-secret'] }
    const { publicKey } = await create(relevo, '/v1/wabas', body, account.token)
    const endpointUri = `${relevo.url}/api/whatsapp/flows/${wabaId}/data`
    const meta = fakeMeta({ endpointUri, publicKey, appSecret: 'second-waba-secret' })
    expect((await meta.init('t')).answer.screen).toBe('WEBHOOK')
  })

  it('one that is made while Relevo runs, from before the API answered', async () => {
    const { account, one } = await accountWithFlows()
    const steps: [string, object][] = [
      ['UMBRELLA', {}],
      ['GRANULAR', { events: granular }],
      ['UMBRELLA_OF_FLOW', { flowIds: [one] }],
      ['GRANULAR_OF_FLOW', { flowIds: [one], events: granular }],
    ]
    expect((await account.meta.init('t', { metaFlowId: 'one' })).text).toBe(acknowledged)
    for (const [name, webhook] of steps) {
      await add(account, name, webhook)
      expect(await answererOf(account)).toBe(name)
    }
  })

  it('one that is made in the middle of exchanges disturbs none of them', async () => {
    const { account } = await accountWithFlows()
    await add(account, 'FIRST', {})
    const calls = Array.from({ length: 20 }, (_, n) => account.meta.init(`t-${n}`, { metaFlowId: 'one' }))
    const added = add(account, 'GRANULAR', { events: granular })
    const screens = (await Promise.all(calls)).map(({ answer }) => answer.screen)
    await added
    expect(screens.filter((screen) => screen !== 'FIRST' && screen !== 'GRANULAR')).toEqual([])
    expect(await answererOf(account)).toBe('GRANULAR')
  })
})
