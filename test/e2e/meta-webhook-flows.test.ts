import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { bodyOf, flowChange, postEvents, type TellTale, tellTale } from '../support/meta-webhook.ts'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

let relevo: TestRelevo
let tale: TellTale
let account: TestAccount
let webhookId: string
const url = 'http://127.0.0.1:9999/hook'
const events = ['whatsapp.flows.status_changed', 'whatsapp.flows.alert']
const time = 1_790_000_000

beforeAll(async () => {
  relevo = await startRelevo()
  tale = tellTale(relevo)
})
afterAll(async () => {
  await tale.close()
  await relevo.close()
})
beforeEach(async () => {
  account = await createAccount(relevo)
  webhookId = (await createWebhook(relevo, account, url, { events })).id
})

async function post(value: object, at = time): Promise<void> {
  const body = bodyOf({ id: account.wabaId, time: at, changes: [flowChange(value)] })
  expect((await postEvents(relevo, body, account.appSecret)).status).toBe(200)
}
const makeFlow = (metaFlowId: string, status?: string) =>
  create(relevo, '/v1/flows', { wabaId: account.wabaId, metaFlowId, name: 'Offer', status }, account.token)
const statusOf = async (id: string) =>
  (await relevo.api('GET', `/v1/flows/${id}`, { token: account.token })).body.status
const statusChange = (from: string | undefined, to: string, flowId: unknown = '300000000000001') => ({
  event: 'FLOW_STATUS_CHANGE',
  message: 'Flow went from one status to another',
  flow_id: flowId,
  old_status: from,
  new_status: to,
})

describe('FLOW_STATUS_CHANGE', () => {
  it('is stored and told', async () => {
    const flow = await makeFlow('300000000000001', 'DRAFT')
    await post(statusChange('DRAFT', 'PUBLISHED'))
    expect(await statusOf(flow.id)).toBe('PUBLISHED')
    const [envelope, ...more] = await tale.envelopes(webhookId)
    expect(more).toEqual([])
    expect(envelope).toMatchObject({
      event: 'whatsapp.flows.status_changed',
      resourceType: 'flow',
      resourceId: flow.id,
      changes: { status: { from: 'DRAFT', to: 'PUBLISHED' } },
      data: { client: null, conversation: null, flowResponse: null },
    })
    expect(envelope.data.flow).toMatchObject({ id: flow.id, metaFlowId: '300000000000001', status: 'PUBLISHED' })
  })

  it('of a flow that is not registered is told without an id, and from null when it was made', async () => {
    await post(statusChange(undefined, 'DRAFT'))
    const { wabaId } = account
    expect(await tale.envelopes(webhookId)).toMatchObject([
      {
        resourceId: null,
        changes: { status: { from: null, to: 'DRAFT' } },
        data: { flow: { id: null, wabaId, metaFlowId: '300000000000001' } },
      },
    ])
  })

  it('is in force before Meta is answered, here and elsewhere', async () => {
    const tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    await createWebhook(relevo, account, tenant.url)
    const environment = { MASTER_KEY: relevo.config.MASTER_KEY }
    const other = await startRelevo(environment, { database: relevo.database })
    await makeFlow('300000000000001', 'DRAFT')
    await post(statusChange('DRAFT', 'PUBLISHED'))
    const told = () => JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '').data.flow.status
    await account.meta.init('a-token')
    expect(told()).toBe('PUBLISHED')
    const at = `${other.url}/api/whatsapp/flows/${account.wabaId}/data`
    await eventually(async () => {
      await account.meta.init('a-token', { at })
      return told() === 'PUBLISHED'
    })
    await other.close()
    await tenant.close()
  })

  it('that comes late is told and does not take back what is newer', async () => {
    const flow = await makeFlow('300000000000001', 'DRAFT')
    await post(statusChange('PUBLISHED', 'THROTTLED'), time + 60)
    await post(statusChange('DRAFT', 'PUBLISHED'), time)
    expect(await statusOf(flow.id)).toBe('THROTTLED')
    await post(statusChange('THROTTLED', 'BLOCKED'), time + 60)
    expect(await statusOf(flow.id)).toBe('BLOCKED')
    expect((await tale.envelopes(webhookId)).map(({ changes }) => changes.status.to)).toEqual([
      'THROTTLED',
      'PUBLISHED',
      'BLOCKED',
    ])
  })

  it('that comes late does not take back what came from it in the same second', async () => {
    const flow = await makeFlow('300000000000001', 'DRAFT')
    await post(statusChange('PUBLISHED', 'THROTTLED'))
    await post(statusChange('DRAFT', 'PUBLISHED'))
    expect(await statusOf(flow.id)).toBe('THROTTLED')
  })

  it.each([
    { name: 'of several in one body the latest is stored', told: ['2 PUBLISHED DEPRECATED', '1 DRAFT PUBLISHED'] },
    {
      name: 'of two in one second that which came from the other',
      told: ['1 PUBLISHED DEPRECATED', '1 DRAFT PUBLISHED'],
    },
    { name: 'the same in order', told: ['1 DRAFT PUBLISHED', '1 PUBLISHED DEPRECATED'] },
    {
      name: 'of three in one second the end of their way, in whatever order',
      told: ['1 THROTTLED DEPRECATED', '1 DRAFT PUBLISHED', '1 PUBLISHED THROTTLED'],
    },
    { name: 'of two that came from each other the last', told: ['1 DEPRECATED BLOCKED', '1 BLOCKED DEPRECATED'] },
  ])('$name', async ({ told }) => {
    const flow = await makeFlow('300000000000001', 'DRAFT')
    const entries = told.map((one) => {
      const [after, from, to = ''] = one.split(' ')
      return { id: account.wabaId, time: time + Number(after), changes: [flowChange(statusChange(from, to))] }
    })
    expect((await postEvents(relevo, bodyOf(...entries), account.appSecret)).status).toBe(200)
    expect(await statusOf(flow.id)).toBe('DEPRECATED')
  })

  it.each([
    { name: 'that which the stored one led to', stored: 'PUBLISHED' },
    { name: 'that which one between led to', stored: 'THROTTLED' },
  ])('of several in one second, whose first was told before, $name is stored', async ({ stored }) => {
    const flow = await makeFlow('300000000000001', 'DRAFT')
    await post(statusChange('DRAFT', stored))
    const changes = [statusChange('THROTTLED', 'BLOCKED'), statusChange('PUBLISHED', 'THROTTLED')].map(flowChange)
    const body = bodyOf({ id: account.wabaId, time, changes })
    expect((await postEvents(relevo, body, account.appSecret)).status).toBe(200)
    expect(await statusOf(flow.id)).toBe('BLOCKED')
  })

  it('to a status that is not known is told and not stored', async () => {
    const flow = await makeFlow('300000000000001', 'DRAFT')
    await post(statusChange('DRAFT', 'OF_TOMORROW'))
    expect(await statusOf(flow.id)).toBe('DRAFT')
    expect(await tale.envelopes(webhookId)).toHaveLength(1)
  })

  it('told twice is told on once; the same at another time is another', async () => {
    await makeFlow('300000000000001')
    await Promise.all(Array.from({ length: 5 }, () => post(statusChange('DRAFT', 'PUBLISHED'))))
    expect(await tale.envelopes(webhookId)).toHaveLength(1)
    await post(statusChange('DRAFT', 'PUBLISHED'), time + 1)
    expect(await tale.envelopes(webhookId)).toHaveLength(2)
  })

  it('names flows of the entry’s WABA only', async () => {
    await makeFlow('300000000000001', 'DRAFT')
    const other = await create(
      relevo,
      '/v1/wabas',
      { wabaId: '990000000001', appSecrets: [account.appSecret] },
      account.token,
    )
    const flow = { wabaId: other.wabaId, metaFlowId: '300000000000001', status: 'DRAFT' }
    const theirs = await create(relevo, '/v1/flows', flow, account.token)
    await post(statusChange('DRAFT', 'PUBLISHED'))
    expect(await statusOf(theirs.id)).toBe('DRAFT')
  })
})

describe('alerts', () => {
  // Values as protocol.md 5.4 describes them.
  const alerts = [
    { event: 'CLIENT_ERROR_RATE', error_rate: 14.28, threshold: 10, alert_state: 'ACTIVATED' },
    { event: 'ENDPOINT_ERROR_RATE', error_rate: 14.28, threshold: 10, alert_state: 'ACTIVATED' },
    { event: 'ENDPOINT_LATENCY', p50_latency: 500, p90_latency: 1100, requests_count: 1000, threshold: 1000 },
    { event: 'ENDPOINT_AVAILABILITY', availability: 75, threshold: 90, alert_state: 'DEACTIVATED' },
    { event: 'FLOW_VERSION_EXPIRY_WARNING', warning: 'The version of the flow is about to expire.' },
  ]
  it.each(alerts)('$event is told as it came', async (alert) => {
    const flow = await makeFlow('300000000000001')
    const notice = { ...alert, flow_id: '300000000000001', errors: [{ error_type: 'x', error_count: 2 }] }
    await post(notice)
    const [envelope, ...more] = await tale.envelopes(webhookId)
    expect(more).toEqual([])
    expect(envelope).toMatchObject({ event: 'whatsapp.flows.alert', resourceId: flow.id, changes: null })
    expect(JSON.stringify(envelope.data.alert)).toBe(JSON.stringify(notice))
    expect(envelope.data.flow).toMatchObject({ id: flow.id, metaFlowId: '300000000000001' })
  })

  it('change no flow', async () => {
    const { id, updatedAt } = await makeFlow('300000000000001', 'PUBLISHED')
    await post({ event: 'ENDPOINT_LATENCY', flow_id: 300000000000001, threshold: 1000 })
    const { body } = await relevo.api('GET', `/v1/flows/${id}`, { token: account.token })
    expect(body).toMatchObject({ status: 'PUBLISHED', updatedAt })
    expect(await tale.envelopes(webhookId)).toMatchObject([{ resourceId: id }])
  })
})
