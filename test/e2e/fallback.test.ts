import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply, silence, text } from '../support/tenant-behaviours.ts'

const acknowledged = '{"data":{"acknowledged":true}}'
const flowJson = {
  version: '7.1',
  data_api_version: '3.0',
  // The entry screen is the one that no other leads to, wherever it stands.
  routing_model: { SECOND: [], FIRST: ['SECOND'] },
  screens: [{ id: 'SECOND' }, { id: 'FIRST' }],
}

let relevo: TestRelevo
let tenant: FakeTenant

beforeAll(async () => {
  relevo = await startRelevo({ DEADLINE_MS: '400', ENRICHMENT_BUDGET_MS: '5000' })
  tenant = await startTenant()
})
afterEach(() => tenant.assertNoSurprises())
afterAll(async () => {
  await tenant.close()
  await relevo.close()
})

async function accountWith(webhook: Record<string, unknown>, flow: object | null = null): Promise<TestAccount> {
  const account = await createAccount(relevo)
  if (flow !== null) {
    await create(relevo, '/v1/flows', { wabaId: account.wabaId, metaFlowId: '1', ...flow }, account.token)
  }
  await createWebhook(relevo, account, tenant.url, webhook)
  return account
}

const fails = reply({ data: { ignored: true } }, 500)
const back = (screen: string | undefined, flowToken: string) => {
  return { action: 'BACK', screen, flow_token: flowToken, version: '3.0' }
}

describe('fallback acknowledged', () => {
  it.each([undefined, null, { mode: 'acknowledged' }])('is the default, to the letter: %j', async (fallback) => {
    const account = await accountWith({ fallback }, { flowJson })
    tenant.next(fails, silence())
    expect((await account.meta.exchange('FORM', {}, 't')).text).toBe(acknowledged)
    expect((await account.meta.init('t')).text).toBe(acknowledged)
    const rows = await relevo.exchanges(account, 2)
    expect(rows.map((row) => row.outcome)).toEqual(['bad_status', 'timeout'])
    const { body } = await relevo.api('GET', `/v1/exchanges/${rows[0].id}`, { token: account.token })
    expect(body.reply).toEqual({ data: { acknowledged: true } })
  })
})

describe('fallback stay', () => {
  const stay = { fallback: { mode: 'stay', errorMessage: 'Por favor, intente de nuevo ⏳' } }
  const staying = (screen: string, data: object) => {
    return { screen, data: { ...data, error_message: 'Por favor, intente de nuevo ⏳' } }
  }

  it.each([
    ['a 500', fails],
    ['silence', silence()],
    ['no JSON', text('<h1>')],
  ])('keeps the screen with the data it had, and the message: after %s', async (_name, failure) => {
    const account = await accountWith(stay)
    const items = [{ id: 'p1', title: 'Plan' }]
    tenant.next(reply({ screen: 'FORM', data: { items, error_message: 'old' }, version: '3.0' }), failure)
    await account.meta.init('stay')
    expect((await account.meta.exchange('FORM', { x: 1 }, 'stay')).answer).toEqual(staying('FORM', { items }))
  })

  it('does so again and again: a fallback is no reply', async () => {
    const account = await accountWith(stay)
    tenant.next(reply({ screen: 'FORM', data: { n: 1 } }), fails, fails)
    await account.meta.init('again')
    await account.meta.exchange('FORM', {}, 'again')
    expect((await account.meta.exchange('FORM', {}, 'again')).answer).toEqual(staying('FORM', { n: 1 }))
  })

  it('takes the newest data of the screen', async () => {
    const account = await accountWith(stay)
    tenant.next(reply({ screen: 'FORM', data: { n: 1 } }), reply({ screen: 'FORM', data: { n: 2 } }), fails)
    await account.meta.init('newest')
    await account.meta.exchange('FORM', {}, 'newest')
    expect((await account.meta.exchange('FORM', {}, 'newest')).answer).toEqual(staying('FORM', { n: 2 }))
  })

  it('knows a reply that named no screen by the one it was completed with', async () => {
    const account = await accountWith(stay)
    tenant.next(reply({ data: { n: 1 } }), fails)
    await account.meta.exchange('FORM', {}, 'completed')
    expect((await account.meta.exchange('FORM', {}, 'completed')).answer).toEqual(staying('FORM', { n: 1 }))
  })

  it('knows a screen that was given no data', async () => {
    const account = await accountWith(stay)
    tenant.next(reply({ screen: 'PLAIN' }), fails)
    await account.meta.init('no-data')
    expect((await account.meta.exchange('PLAIN', {}, 'no-data')).answer).toEqual(staying('PLAIN', {}))
  })

  it('knows a screen that the person went back to without asking us', async () => {
    const account = await accountWith(stay)
    tenant.next(reply({ screen: 'FORM', data: { n: 1 } }), reply({ screen: 'NEXT', data: { n: 2 } }), fails)
    await account.meta.init('returned')
    await account.meta.exchange('FORM', {}, 'returned')
    expect((await account.meta.exchange('FORM', {}, 'returned')).answer).toEqual(staying('FORM', { n: 1 }))
  })

  it('is acknowledged where nothing is known', async () => {
    const account = await accountWith(stay)
    tenant.next(reply({ screen: 'FORM', data: { n: 1 } }), fails, fails, fails, fails, fails)
    await account.meta.init('known')
    const nothingKnown = [
      () => account.meta.exchange('OTHER', {}, 'known'),
      () => account.meta.exchange('FORM', {}, 'another-token'),
      () => account.meta.exchange('FORM', {}, 'unused'),
      () => account.meta.exchange('FORM', {}, null),
      // INIT names no screen.
      () => account.meta.init('known'),
    ]
    for (const call of nothingKnown) expect((await call()).text).toBe(acknowledged)
  })

  it('of another workspace says nothing', async () => {
    const other = await accountWith(stay)
    const account = await accountWith(stay)
    tenant.next(reply({ screen: 'FORM', data: { n: 1 } }), fails)
    await other.meta.init('same-token')
    expect((await account.meta.exchange('FORM', {}, 'same-token')).text).toBe(acknowledged)
  })
})

describe('fallback static', () => {
  const whole = { screen: 'SORRY', data: { text: 'Más tarde' }, version: '3.0' }
  const dataOnly = { data: { error_message: 'Más tarde' } }
  const cases: [string, object, string | null, object | null, object][] = [
    ['with its screen', whole, 'FORM', null, whole],
    ['with its screen, on INIT', whole, null, { flowJson }, whole],
    ['with the exchange’s own screen', dataOnly, 'FORM', null, { ...dataOnly, screen: 'FORM' }],
    ['with the flow’s first screen, on INIT', dataOnly, null, { flowJson }, { ...dataOnly, screen: 'FIRST' }],
    ['as it is, on INIT of an unknown Flow JSON', dataOnly, null, { name: 'x' }, dataOnly],
    ['as it is, on INIT of an unknown flow', dataOnly, null, null, dataOnly],
    ['that is a screen alone', { screen: 'SORRY' }, 'FORM', null, { screen: 'SORRY' }],
  ]
  it.each(cases)('goes out %s', async (_name, fixed, screen, flow, expected) => {
    const account = await accountWith({ fallback: { mode: 'static', reply: fixed } }, flow)
    tenant.next(fails)
    const { meta } = account
    const { status, answer } = await (screen === null ? meta.init('t') : meta.exchange(screen, {}, 't'))
    expect({ status, answer }).toEqual({ status: 200, answer: expected })
  })

  it('completes nothing, even if it says SUCCESS', async () => {
    const account = await accountWith({ fallback: { mode: 'static', reply: { screen: 'SUCCESS', data: {} } } })
    tenant.next(fails)
    expect((await account.meta.exchange('FORM', {}, 'static-success')).answer.screen).toBe('SUCCESS')
    await relevo.exchanges(account, 1)
    const { body } = await relevo.api('GET', '/v1/flow-responses', { token: account.token })
    expect(body.data).toEqual([expect.objectContaining({ status: 'IN_PROGRESS', completedAt: null })])
  })
})

describe('fallback last_good', () => {
  const lastGood = { fallback: { mode: 'last_good' } }

  it('repeats the last reply to the same token, action and screen, byte for byte', async () => {
    const account = await accountWith(lastGood)
    const good = '{"data":{"price":1.50,"id":12345678901234567890},"screen":"NEXT"}'
    tenant.next(reply({ screen: 'NEXT', data: { n: 0 } }), text(good), fails, silence())
    await account.meta.exchange('FORM', {}, 'good')
    await account.meta.exchange('FORM', { x: 1 }, 'good')
    expect((await account.meta.exchange('FORM', { x: 2 }, 'good')).text).toBe(good)
    expect((await account.meta.exchange('FORM', { x: 3 }, 'good')).text).toBe(good)
  })

  it('works for INIT and BACK too, and repeats the screen that was added', async () => {
    const account = await accountWith(lastGood, { flowJson })
    tenant.next(reply({ data: { n: 1 } }), reply({ data: { n: 2 } }), fails, fails)
    await account.meta.init('each')
    await account.meta.call(back('FORM', 'each'))
    expect((await account.meta.init('each')).answer).toEqual({ screen: 'FIRST', data: { n: 1 } })
    expect((await account.meta.call(back('FORM', 'each'))).answer).toEqual({ screen: 'FORM', data: { n: 2 } })
  })

  it('is acknowledged where token, action or screen differ', async () => {
    const account = await accountWith(lastGood)
    tenant.next(reply({ screen: 'NEXT', data: {} }), fails, fails, fails, fails, fails)
    await account.meta.exchange('FORM', {}, 'good')
    const differing = [
      () => account.meta.exchange('OTHER', {}, 'good'),
      () => account.meta.call(back('FORM', 'good')),
      () => account.meta.exchange('FORM', {}, 'another'),
      () => account.meta.exchange('FORM', {}, null),
      () => account.meta.init('good'),
    ]
    for (const call of differing) expect((await call()).text).toBe(acknowledged)
  })

  it('does not repeat a 427', async () => {
    const account = await accountWith(lastGood)
    tenant.next(text('{"error_msg":"Ask for a new link"}', 427), fails)
    expect((await account.meta.exchange('FORM', {}, 'refused')).status).toBe(427)
    expect(await account.meta.exchange('FORM', {}, 'refused')).toMatchObject({ status: 200, text: acknowledged })
  })
})

describe('a reply', () => {
  const onForm: [string, string, string][] = [
    ['data alone gets the exchange’s screen', '{"data":{"n":1}}', '{"screen":"FORM","data":{"n":1}}'],
    ['an empty screen counts as absent', '{"screen":"","data":{"n":1}}', '{"screen":"FORM","data":{"n":1}}'],
    ['a null screen counts as absent', '{"screen":null,"data":{}}', '{"screen":"FORM","data":{}}'],
    ['a screen that is a number counts as absent', '{"data":{},"screen":7}', '{"screen":"FORM","data":{}}'],
    ['data that is an array is dropped', '{"screen":"NEXT","data":[1]}', '{"screen":"NEXT"}'],
    ['data that is null is dropped', '{"screen":"NEXT","data":null}', '{"screen":"NEXT"}'],
    ['data that is text is dropped', '{"data":"x","screen":"NEXT"}', '{"screen":"NEXT"}'],
    ['a screen alone is enough', '{"screen":"NEXT"}', '{"screen":"NEXT"}'],
    ['empty data is enough', ' {"data":{}}\n', '{"screen":"FORM","data":{}}'],
    [
      'other members are passed on',
      '{"data":{"error_message":"No"},"version":"3.0","more":[1]}',
      '{"screen":"FORM","data":{"error_message":"No"},"version":"3.0","more":[1]}',
    ],
    [
      'other members are passed on where something is dropped',
      '{"a":1,"data":null,"screen":"NEXT","z":{"data":null}}',
      '{"screen":"NEXT","a":1,"z":{"data":null}}',
    ],
    [
      'numbers stay as written',
      '{"data":{"n":1.50,"id":12345678901234567890}}',
      '{"screen":"FORM","data":{"n":1.50,"id":12345678901234567890}}',
    ],
    ['status 201 is as good as 200', '{"data":{}}', '{"screen":"FORM","data":{}}'],
  ]
  it.each(onForm)('%s', async (name, given, expected) => {
    const account = await accountWith({})
    tenant.next(text(given, name.includes('201') ? 201 : 200))
    const { status, text: answered } = await account.meta.exchange('FORM', {}, 't')
    // As JSON too, so that a failure shows what differs.
    expect(JSON.parse(answered ?? '')).toEqual(JSON.parse(expected))
    expect({ status, answered: answered?.trim() }).toEqual({ status: 200, answered: expected })
  })

  it.each([
    ['gets the flow’s first screen', { flowJson }, { screen: 'FIRST', data: { n: 1 } }],
    ['gets nothing added where the Flow JSON is not known', { name: 'x' }, { data: { n: 1 } }],
    ['gets nothing added where the flow is not known', null, { data: { n: 1 } }],
  ])('to INIT with data alone %s', async (_name, flow, expected) => {
    const account = await accountWith({}, flow)
    tenant.next(reply({ data: { n: 1 } }))
    expect((await account.meta.init('t')).answer).toEqual(expected)
  })

  it('to BACK without a screen gets nothing added', async () => {
    const account = await accountWith({}, { flowJson })
    tenant.next(reply({ data: { n: 1 } }))
    expect((await account.meta.call(back(undefined, 't'))).answer).toEqual({ data: { n: 1 } })
  })

  it('to INIT that names a screen gets that one', async () => {
    const account = await accountWith({}, { flowJson })
    tenant.next(reply({ data: { n: 1 } }))
    const { answer } = await account.meta.call({ action: 'INIT', screen: 'SECOND', flow_token: 't' })
    expect(answer).toEqual({ screen: 'SECOND', data: { n: 1 } })
  })
})
