import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { eventSchemas } from '../../src/domain/event-schemas.ts'
import { subscribableEvents, umbrellaEvent } from '../../src/domain/events.ts'
import { makeCertificate } from '../support/certificate.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type Behaviour, type FakeTenant, startTenant } from '../support/tenant.ts'
import {
  delayed,
  html,
  huge,
  noContent,
  redirect,
  reply,
  reset,
  silence,
  text,
  truncated,
} from '../support/tenant-behaviours.ts'

/** contract.md §6 `POST /v1/webhooks/{id}/test`: a sample through the real path. */
describe('testing a webhook', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount

  beforeAll(async () => {
    relevo = await startRelevo({ DEADLINE_MS: '1000' })
    tenant = await startTenant()
    account = await createAccount(relevo)
  })
  afterEach(() => tenant.assertNoSurprises())
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  const add = async (more: Record<string, unknown> = {}, url = tenant.url): Promise<string> =>
    (await createWebhook(relevo, account, url, { secret: 'inner-secret', ...more })).id
  const runTest = async (id: string, body: object = {}) => {
    const answer = await relevo.api('POST', `/v1/webhooks/${id}/test`, { body, token: account.token })
    expect(answer.status).toBe(200)
    expect(JSON.stringify(answer.body)).not.toContain('inner-secret')
    return answer.body
  }

  it('sends what an exchange would: envelope, headers, signatures; and leaves no exchange', async () => {
    const id = await add({ headers: { 'X-Own': 'value' }, timeoutMs: 2000 })
    tenant.next(reply({ screen: 'A', data: {} }))
    const { attempt, event, id: envelopeId } = await runTest(id)
    expect(event).toBe('whatsapp.flows.init')
    expect(attempt).toEqual({
      status: 200,
      failure: null,
      durationMs: expect.any(Number),
      connectMs: expect.any(Number),
      headMs: expect.any(Number),
      bytes: '{"screen":"A","data":{}}'.length,
    })
    const call = tenant.received.at(-1)
    const envelope = eventSchemas['whatsapp.flows.init'].parse(JSON.parse(String(call?.rawBody)))
    expect(envelope).toMatchObject({ id: envelopeId, workspaceId: account.workspaceId })
    expect(Date.now() - Date.parse(envelope.timestamp)).toBeLessThan(60_000)
    const signed = createHmac('sha256', 'inner-secret')
      .update(call?.rawBody ?? '')
      .digest('hex')
    expect(call).toMatchObject({
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Platica-Webhooks/1.0',
        'x-webhook-event': 'whatsapp.flows.init',
        'x-webhook-id': id,
        'x-webhook-event-id': envelopeId,
        'x-webhook-resource-type': 'flow_response',
        'x-webhook-resource-id': envelope.resourceId,
        'x-webhook-timestamp': envelope.timestamp,
        'x-webhook-signature': `sha256=${signed}`,
        'x-webhook-attempt': '1',
        'x-webhook-timeout-ms': '2000',
        'webhook-id': envelopeId,
        'webhook-signature': expect.stringMatching(/^v1,/),
        'x-own': 'value',
      },
    })
    const again = await runTestWith(id, reply({ data: {} }))
    expect(again.id).not.toBe(envelopeId)
    const { body } = await relevo.api('GET', '/v1/exchanges', { token: account.token })
    expect(body.data).toEqual([])
  })

  const runTestWith = (id: string, behaviour: Behaviour, body: object = {}) => {
    tenant.next(behaviour)
    return runTest(id, body)
  }

  it('uses the connections of exchanges', async () => {
    const id = await add({ events: ['whatsapp.flows.back'], flowIds: null })
    await runTestWith(id, reply({ data: {} }))
    await runTestWith(id, reply({ data: {} }))
    const [first, second] = tenant.received.slice(-2)
    expect(second?.connection).toBe(first?.connection)
  })

  it.each<[string, Behaviour, object]>([
    ['a reply', reply({ data: {} }), { status: 200, failure: null }],
    ['a refusal of the token', reply({ error_msg: 'gone' }, 427), { status: 427, failure: null }],
    ['a 500', reply({}, 500), { status: 500, failure: 'bad_status' }],
    ['a redirect', redirect('http://127.0.0.1:1/'), { status: 302, failure: 'bad_status' }],
    ['nothing', noContent(), { status: 204, failure: 'not_json' }],
    ['a page', html(), { status: 200, failure: 'not_json' }],
    ['an array', text('[1]'), { status: 200, failure: 'invalid_reply' }],
    ['an empty object', text('{}'), { status: 200, failure: 'invalid_reply' }],
    ['too much', huge(300_000), { failure: 'reply_too_large' }],
    ['a reset', reset(), { status: null, failure: 'connection_lost' }],
    ['silence', silence(), { status: null, failure: 'timeout' }],
    ['a late reply', delayed(1500, { data: {} }), { failure: 'timeout' }],
  ])('judges %s as an exchange would', async (_name, behaviour, expected) => {
    const { attempt } = await runTestWith(await add(), behaviour)
    expect(attempt).toMatchObject(expected)
    if (attempt.failure === 'timeout') expect(attempt.durationMs).toBeGreaterThanOrEqual(1000)
  })

  it('goes past the address guard, on each connection anew', async () => {
    const narrow = await startRelevo(
      { WEBHOOK_ALLOWED_NETWORKS: '', MASTER_KEY: relevo.config.MASTER_KEY, ADMIN_TOKEN: relevo.config.ADMIN_TOKEN },
      { database: relevo.database },
    )
    const id = await add({}, tenant.url.replace('127.0.0.1', 'localhost'))
    const body = {}
    const answer = await narrow.api('POST', `/v1/webhooks/${id}/test`, { body, token: account.token })
    expect(answer.body.attempt).toMatchObject({ status: null, failure: 'address_blocked', bytes: 0 })
    await narrow.close()
  })

  it('tells a port where nobody listens, and a certificate that nobody knows', async () => {
    expect((await runTest(await add({}, 'http://127.0.0.1:1025/'))).attempt.failure).toBe('connect_failed')
    const secure = await startTenant({ tls: makeCertificate({ hosts: ['127.0.0.1'] }) })
    expect((await runTest(await add({}, secure.url))).attempt.failure).toBe('tls_failed')
    await secure.close()
  })

  it.each([
    [['whatsapp.flows.exchanges'], 'whatsapp.flows.init'],
    [['whatsapp.flows.back', 'whatsapp.flows.completed'], 'whatsapp.flows.back'],
    [['whatsapp.flows.alert', 'whatsapp.flows.screen_advance'], 'whatsapp.flows.screen_advance'],
    [['whatsapp.flows.alert', 'whatsapp.flows.completed'], 'whatsapp.flows.completed'],
  ])('takes the first exchange event of %j, else the first', async (events, expected) => {
    const { event } = await runTestWith(await add({ events }), reply({ data: {} }))
    expect(event).toBe(expected)
    expect(tenant.received.at(-1)?.headers['x-webhook-event']).toBe(expected)
  })

  it.each(subscribableEvents)('sends a sample of %s that fits its schema', async (event) => {
    const { attempt } = await runTestWith(await add(), reply({ data: {} }), { event })
    expect(attempt.failure).toBeNull()
    const call = tenant.received.at(-1)
    const envelope = JSON.parse(String(call?.rawBody))
    expect(eventSchemas[event].parse(envelope)).toEqual(envelope)
    expect(call?.headers).toMatchObject({
      'x-webhook-event': event === umbrellaEvent ? 'whatsapp.flows.init' : event,
      'x-webhook-resource-type': envelope.resourceType,
      'x-webhook-resource-id': envelope.resourceId,
    })
  })

  it('of an event whose answer is not awaited, the status alone counts, and the time is that of a delivery', async () => {
    const id = await add({ events: ['whatsapp.flows.completed'], timeoutMs: 100 })
    expect((await runTestWith(id, noContent())).attempt).toMatchObject({ status: 204, failure: null })
    expect((await runTestWith(id, html())).attempt).toMatchObject({ status: 200, failure: null })
    // A body that is too large or cut short changes nothing: the real delivery would count as delivered.
    expect((await runTestWith(id, huge(300_000))).attempt).toMatchObject({ status: 200, failure: null })
    expect((await runTestWith(id, truncated())).attempt).toMatchObject({ status: 200, failure: null })
    expect((await runTestWith(id, reset())).attempt).toMatchObject({ status: null, failure: 'connection_lost' })
    expect((await runTestWith(id, huge(300_000, { status: 500 }))).attempt).toMatchObject({
      status: 500,
      failure: 'bad_status',
    })
    expect((await runTestWith(id, reply({}, 410))).attempt).toMatchObject({ status: 410, failure: 'bad_status' })
    expect((await runTestWith(id, delayed(200, {}))).attempt).toMatchObject({ status: 200, failure: null })
    expect(tenant.received.at(-1)?.headers).not.toHaveProperty('x-webhook-timeout-ms')
  })

  it('a plain webhook gets Meta’s body, and the envelope where Meta has none', async () => {
    const id = await add({ format: 'plain' })
    await runTestWith(id, reply({ data: {} }))
    expect(JSON.parse(String(tenant.received.at(-1)?.rawBody))).toMatchObject({ action: 'INIT', version: '3.0' })
    await runTestWith(id, reply({ data: {} }), { event: 'whatsapp.flows.completed' })
    expect(JSON.parse(String(tenant.received.at(-1)?.rawBody)).event).toBe('whatsapp.flows.completed')
  })

  it('tests a webhook that is switched off, and one whose breaker would be open', async () => {
    const id = await add({ active: false })
    for (let i = 0; i < 25; i++) await runTestWith(id, reply({}, 500))
    expect((await runTestWith(id, reply({ data: {} }))).attempt.failure).toBeNull()
  })

  it('400 for an event that is none', async () => {
    const path = `/v1/webhooks/${await add()}/test`
    const answer = await relevo.api('POST', path, { body: { event: 'x' }, token: account.token })
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ path: 'event' }] } })
  })
})
