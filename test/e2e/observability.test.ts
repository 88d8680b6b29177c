import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchangeSpanId, traceIdOf } from '../../src/ops/trace-ids.ts'
import { type CollectedSpan, type FakeCollector, startCollector } from '../support/collector.ts'
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
import { delayed, reply } from '../support/tenant-behaviours.ts'

/** What an operator sees of one exchange that is answered, one that ends in a fallback, and a webhook that is told, and told again. */
let relevo: TestRelevo
let collector: FakeCollector
let answering: FakeTenant
let told: FakeTenant
let account: TestAccount
let observer: { readonly id: string }
let rows: { readonly id: string; readonly outcome: string; readonly webhookId: string }[]

const known = {
  token: 'a-token-of-somebody',
  typed: 'what somebody typed',
  path: 'a-path-of-the-tenant',
  header: 'its-own',
}
const fromMeta = '00-11111111111111111111111111111111-2222222222222222-01'

beforeAll(async () => {
  collector = await startCollector()
  relevo = await startRelevo({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ENRICHMENT_BUDGET_MS: '5000' })
  ;[answering, told] = await Promise.all([startTenant(), startTenant()])
  account = await createAccount(relevo)
  const headers = { 'X-Own': known.header }
  await createWebhook(relevo, account, `${answering.url}/${known.path}`, { headers, timeoutMs: 5000 })
  observer = await createWebhook(relevo, account, `${told.url}/${known.path}`, { name: 'Told' })
  told.always(reply({}))
  answering.next(reply({ screen: 'NEXT', data: {} }), reply({ oops: known.typed }, 500))
  await account.meta.init(known.token, { headers: { traceparent: fromMeta, tracestate: 'meta=1' } })
  await account.meta.exchange('NEXT', { field: known.typed }, known.token)
  rows = await relevo.exchanges(account, 2)
})
afterAll(async () => {
  await relevo.close()
  collector.assertNoSurprises()
  await Promise.all([collector.close(), answering.close(), told.close()])
})

const spansOf = (exchangeId: string | undefined) =>
  collector.spans.filter(({ traceId }) => traceId === traceIdOf(exchangeId ?? ''))
const named = (spans: readonly CollectedSpan[], name: string) => {
  const [span, ...others] = spans.filter((one) => one.name === name)
  if (span === undefined || others.length > 0) throw new Error(`${others.length + 1} spans are named ${name}`)
  return span
}
const page = async () => {
  const headers = { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` }
  return (await fetch(`${relevo.url}/metrics`, { headers })).text()
}

describe('a trace', () => {
  it('is an exchange with its steps, under the exchange\u2019s own id', async () => {
    const [first] = rows
    const spans = await eventually(() => (spansOf(first?.id).length >= 7 ? spansOf(first?.id) : null))
    expect(spans.map(({ name }) => name).toSorted()).toEqual(
      ['decrypt', 'delivery', 'encrypt', 'enrich', 'exchange', 'verify', 'webhook'].toSorted(),
    )
    const root = named(spans, 'exchange')
    expect(root).toMatchObject({
      parentSpanId: '',
      isError: false,
      attributes: {
        'relevo.exchange_id': first?.id,
        'relevo.outcome': 'replied',
        'relevo.event': 'whatsapp.flows.init',
        'relevo.workspace_id': account.workspaceId,
        'relevo.waba_id': account.wabaId,
        'relevo.webhook_id': first?.webhookId,
      },
    })
    expect(named(spans, 'webhook').attributes).toMatchObject({ 'http.response.status_code': 200 })
    let before = root.startNs
    for (const step of ['verify', 'decrypt', 'enrich', 'webhook', 'encrypt']) {
      const span = named(spans, step)
      expect(span.parentSpanId).toBe(root.spanId)
      // Nanoseconds of a clock that is read in microseconds.
      expect(span.startNs).toBeGreaterThanOrEqual(before - 10_000n)
      before = span.endNs
    }
    expect(root.endNs).toBeGreaterThanOrEqual(before - 10_000n)
  })

  it('goes on at the webhook that is asked and at the one that is told; Meta\u2019s side is not listened to', () => {
    const [first] = rows
    const spans = spansOf(first?.id)
    const header = (tenant: FakeTenant) => tenant.received[0]?.headers.traceparent
    expect(header(answering)).toBe(`00-${traceIdOf(first?.id ?? '')}-${named(spans, 'webhook').spanId}-01`)
    expect(header(told)).toBe(`00-${traceIdOf(first?.id ?? '')}-${named(spans, 'delivery').spanId}-01`)
    for (const { headers } of [...answering.received, ...told.received])
      expect(headers).not.toHaveProperty('tracestate')
    expect(collector.bodies.join()).not.toContain('1111111111')
    const delivery = named(spans, 'delivery')
    expect(delivery).toMatchObject({ parentSpanId: exchangeSpanId(first?.id ?? ''), isError: false })
    expect(delivery.attributes).toMatchObject({ 'relevo.webhook_id': observer.id, 'relevo.attempt': 1 })
  })

  it('of a fallback is an error that names its outcome', async () => {
    const [, second] = rows
    const spans = await eventually(() => (spansOf(second?.id).length >= 6 ? spansOf(second?.id) : null))
    expect(named(spans, 'exchange')).toMatchObject({ isError: true, attributes: { 'error.type': 'bad_status' } })
    expect(named(spans, 'webhook').attributes['http.response.status_code']).toBe(500)
  })

  it('of a delivery that is made again goes on, with a span of its own', async () => {
    const { body } = await relevo.api('GET', '/v1/deliveries?status=delivered', { token: account.token })
    const [delivery] = body.data.filter(({ eventId }: { eventId: string }) => eventId === rows[0]?.id)
    await relevo.api('POST', `/v1/deliveries/${delivery.id}/redeliver`, { token: account.token })
    const of = () => spansOf(rows[0]?.id).filter(({ name }) => name === 'delivery')
    await eventually(() => of().length === 2, { timeoutMs: 15_000 })
    expect(new Set(of().map(({ spanId }) => spanId)).size).toBe(2)
    expect(of()[1]?.attributes['relevo.attempt']).toBe(2)
  })

  it('holds nothing of what people typed, tokens, secrets or URLs', () => {
    const sent = collector.bodies.join()
    const secrets = [account.appSecret, account.token, relevo.config.ADMIN_TOKEN, answering.url, told.url]
    for (const value of [...Object.values(known), ...secrets]) expect(sent).not.toContain(value)
  })
})

it('the metrics tell of the same', async () => {
  await eventually(async () => (await page()).includes('relevo_delivery_queue_depth 0'), { timeoutMs: 15_000 })
  const text = await page()
  for (const line of [
    'relevo_exchanges_total{outcome="replied",kind="answer",fault="none"} 1',
    'relevo_exchanges_total{outcome="bad_status",kind="fallback",fault="tenant"} 1',
    'relevo_exchange_duration_seconds_count{outcome="replied"} 1',
    'relevo_webhook_duration_seconds_count{outcome="bad_status"} 1',
    'relevo_recorder_answer_wait_seconds_count 2',
    'relevo_delivery_attempt_duration_seconds_count{status="delivered"} 3',
    'relevo_delivery_retries_total 1',
    'relevo_delivery_delay_seconds_count 3',
    'relevo_deliveries_exhausted_total{reason="schedule_ended"} 0',
    'relevo_breakers{state="closed"} 1',
    'relevo_spool_rows 0',
    'relevo_slow_flows 0',
    'relevo_spans_total{result="failed"} 0',
  ]) {
    expect(text).toContain(`${line}\n`)
  }
  expect(text).toMatch(/relevo_flow_key_uses_total\{flow_key="fk_\w+"\} 2\n/)
  expect(text).toMatch(/relevo_event_loop_delay_seconds \d/)
  for (const value of Object.values(known)) expect(text).not.toContain(value)
})

it('a flow that is slow by itself is in the metrics by number, in the log by id, and in its own figures by verdict', async () => {
  const flow = await create(relevo, '/v1/flows', { wabaId: account.wabaId, metaFlowId: '8001' }, account.token)
  answering.always(delayed(900, { screen: 'NEXT', data: {} }))
  const calls = Array.from({ length: 20 }, (_, n) => account.meta.init(`slow-${n}`, { metaFlowId: '8001' }))
  for (const { answer } of await Promise.all(calls)) expect(answer.screen).toBe('NEXT')
  expect(await page()).toContain('relevo_slow_flows 1\n')
  const line = relevo.logs.find(({ msg }) => String(msg).startsWith('flows are slow'))
  expect(line).toMatchObject({ level: 'warn', flows: [{ flowId: flow.id, workspaceId: account.workspaceId }] })
  const judged = await eventually(async () => {
    const { body } = await relevo.api('GET', `/v1/stats?flowId=${flow.id}`, { token: account.token })
    return body.exchanges === 20 ? body.verdict : null
  })
  expect(['at_risk', 'over_threshold']).toContain(judged.verdict)
  expect(judged.checks[0].value).toBeGreaterThan(800)
})
