import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Outcome, outcomeNames } from '../../src/domain/outcome.ts'
import { makeCertificate } from '../support/certificate.ts'
import { createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { type Behaviour, type FakeTenant, startHangingPort, startTenant } from '../support/tenant.ts'
import {
  delayed,
  dripping,
  hangUp,
  html,
  huge,
  noContent,
  redirect,
  reply,
  reset,
  resetInBody,
  silence,
  slowHead,
  text,
  truncated,
} from '../support/tenant-behaviours.ts'

const acknowledged = '{"data":{"acknowledged":true}}'
/** What this file shows end to end. The refusals and local answers are in answers.test.ts. */
const elsewhere: Outcome[] = [
  'answered_locally',
  'unknown_action',
  'repeated',
  'unknown_waba',
  'body_too_large',
  'bad_signature',
  'malformed',
  'undecryptable',
]
const seen = new Set<Outcome>()

describe('outcomes of an exchange', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo({ DEADLINE_MS: '250' })
    tenant = await startTenant()
  })
  afterAll(async () => {
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
    expect(outcomeNames.filter((name) => !seen.has(name) && !elsewhere.includes(name))).toEqual([])
  })

  /** One exchange of a fresh account; returns the answer and its closed row. */
  async function exchange(url: string | null, webhook: Record<string, unknown> = {}) {
    const account = await createAccount(relevo)
    if (url !== null) await createWebhook(relevo, account, url, webhook)
    const answer = await account.meta.exchange('FORM', { name: 'x' }, 'a-flow-token')
    const [row] = await relevo.exchanges(account, 1)
    seen.add(row.outcome)
    return { answer, row, account }
  }

  it('replied: the reply goes to the phone as the tenant wrote it', async () => {
    const body = '{"screen":"NEXT", "data":{"price":1.50,"id":12345678901234567890},"version":"3.0"}'
    tenant.next(text(body))
    const { answer, row } = await exchange(tenant.url)
    expect(answer).toMatchObject({ status: 200, text: body })
    expect(row).toMatchObject({ outcome: 'replied', event: 'whatsapp.flows.screen_advance', screen: 'FORM' })
    expect(row.webhookMs).toBeGreaterThan(0)
  })

  it('token_refused: 427 with an error_msg is passed on, encrypted', async () => {
    tenant.next(text('{"error_msg":"Ask for a new link"}', 427))
    const { answer, row } = await exchange(tenant.url)
    expect(answer).toMatchObject({ status: 427, text: '{"error_msg":"Ask for a new link"}' })
    expect(row.outcome).toBe('token_refused')
  })

  const broken: [Outcome, string, Behaviour][] = [
    ['timeout', 'late reply', delayed(1000, { data: {} })],
    ['timeout', 'silence', silence()],
    ['timeout', 'dripping body', dripping(1, 40)],
    ['timeout', 'slow head', slowHead(40)],
    ['connection_lost', 'reset', reset()],
    ['connection_lost', 'reset in the body', resetInBody()],
    ['connection_lost', 'hang-up', hangUp()],
    ['connection_lost', 'truncated body', truncated()],
    ['bad_status', '500', reply({ data: {} }, 500)],
    ['bad_status', '404 HTML', html(404)],
    ['bad_status', 'redirect', redirect('http://127.0.0.1:1/')],
    ['bad_status', '427 without a message', text('{}', 427)],
    ['not_json', 'HTML', html()],
    ['not_json', '204', noContent()],
    ['not_json', 'invalid UTF-8', text(Buffer.from([0x22, 0xff, 0x22]))],
    ['invalid_reply', 'array', text('[]')],
    ['invalid_reply', 'string', text('"x"')],
    ['invalid_reply', 'data an array', text('{"data":[]}')],
    ['invalid_reply', 'screen empty', text('{"screen":""}')],
    ['invalid_reply', 'data null and screen a number', text('{"screen":1,"data":null}')],
    ['reply_too_large', 'announced', huge(256 * 1024 + 1)],
    ['reply_too_large', 'chunked', huge(256 * 1024 + 1, { chunked: true })],
    ['internal_error', 'reply of 50,001 values', text(`{"data":{"a":[${Array(49_999).fill(0)}]}}`)],
    ['internal_error', 'reply nested too deep', text(`{"data":${'{"a":'.repeat(300)}1${'}'.repeat(300)}}`)],
  ]
  it.each(broken)('%s: %s', async (outcome, _name, behaviour) => {
    tenant.next(behaviour)
    const { answer, row } = await exchange(tenant.url)
    expect(answer).toMatchObject({ status: 200, text: acknowledged })
    expect(row.outcome).toBe(outcome)
  })

  it('replied: 256 KiB to the byte', async () => {
    const body = `{"data":{"x":"${'a'.repeat(256 * 1024 - 17)}"}}`
    tenant.next(text(body))
    expect((await exchange(tenant.url)).row.outcome).toBe('replied')
  })

  it.each([
    ['nested deeper than 200', `${'{"a":'.repeat(201)}1${'}'.repeat(201)}`],
    ['of more than 50,000 values', `{"a":[${Array(50_000).fill(0)}]}`],
    ['of more than 50,000 objects', `{"a":[${Array(50_000).fill('{}')}]}`],
  ])('internal_error: a request %s', async (_, payload) => {
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
    const plaintext = `{"action":"INIT","data":${payload}}`
    expect(await account.meta.call(plaintext)).toMatchObject({ status: 200, text: acknowledged })
    expect((await relevo.exchanges(account, 1))[0].outcome).toBe('internal_error')
  })

  it('no_webhook', async () => {
    const { answer, row } = await exchange(null)
    expect(answer.text).toBe(acknowledged)
    expect(row).toMatchObject({ outcome: 'no_webhook', webhookId: null })
    seen.add('no_webhook')
  })

  it('connect_failed: nobody listens', async () => {
    const gone = await startTenant()
    await gone.close()
    expect((await exchange(gone.url)).row.outcome).toBe('connect_failed')
  })

  it('connect_failed: the name does not resolve', async () => {
    const { row } = await exchange('http://nobody.invalid/hook', { timeoutMs: 5000 })
    expect(row.outcome).toBe('connect_failed')
  })

  it('timeout: a connect that hangs', async () => {
    const port = await startHangingPort()
    const { row } = await exchange(`http://127.0.0.1:${port.port}/hook`)
    expect(row.outcome).toBe('timeout')
    await port.close()
  })

  it('address_blocked: a name that leads inside, checked at the connect', async () => {
    const strict = await startRelevo({ WEBHOOK_ALLOWED_NETWORKS: '' })
    const account = await createAccount(strict)
    const { port } = new URL(tenant.url)
    const before = tenant.received.length
    await createWebhook(strict, account, `http://localhost:${port}/hook`)
    expect((await account.meta.init('t')).text).toBe(acknowledged)
    expect((await strict.exchanges(account, 1))[0].outcome).toBe('address_blocked')
    expect(tenant.received).toHaveLength(before)
    seen.add('address_blocked')
    await strict.close()
  })

  it('tls_failed: a certificate nobody trusts', async () => {
    const secure = await startTenant({ tls: makeCertificate({ hosts: ['127.0.0.1'] }) })
    expect((await exchange(secure.url, { timeoutMs: 5000 })).row.outcome).toBe('tls_failed')
    await secure.close()
  })

  it('replied over TLS with a certificate that is trusted', async () => {
    const tls = makeCertificate({ hosts: ['localhost'] })
    const trusting = await startRelevo({}, { webhookCa: tls.cert })
    const secure = await startTenant({ tls, host: 'localhost' })
    secure.next(reply({ screen: 'A', data: {} }))
    const account = await createAccount(trusting)
    await createWebhook(trusting, account, secure.url)
    expect((await account.meta.init('t')).answer).toEqual({ screen: 'A', data: {} })
    await secure.close()
    await trusting.close()
  })

  it('breaker_open: after 20 calls of which half failed the fallback goes out at once', async () => {
    const account = await createAccount(relevo)
    const failing = await startTenant()
    await createWebhook(relevo, account, failing.url)
    failing.always(reply({}, 500))
    for (let call = 0; call < 20; call++) await account.meta.init(`breaker-${call}`)
    failing.always(null)
    expect((await account.meta.init('breaker-open')).text).toBe(acknowledged)
    const rows = await relevo.exchanges(account, 21)
    expect(rows.map((row) => row.outcome)).toEqual([...Array(20).fill('bad_status'), 'breaker_open'])
    expect(rows.at(-1)).toMatchObject({ webhookMs: null })
    failing.assertNoSurprises()
    seen.add('breaker_open')
    await failing.close()
  })

  it('a webhook may turn its breaker off', async () => {
    const account = await createAccount(relevo)
    const failing = await startTenant()
    await createWebhook(relevo, account, failing.url, { breaker: { mode: 'off' } })
    failing.always(reply({}, 500))
    for (let call = 0; call < 22; call++) await account.meta.init(`no-breaker-${call}`)
    const rows = await relevo.exchanges(account, 22)
    expect(new Set(rows.map((row) => row.outcome))).toEqual(new Set(['bad_status']))
    await failing.close()
  })

  it('overloaded: the 65th exchange at once of one webhook gets the fallback', async () => {
    const account = await createAccount(relevo)
    const slow = await startTenant()
    await createWebhook(relevo, account, slow.url, { timeoutMs: 8000 })
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    slow.always(async (call) => {
      await released
      await reply({ screen: 'A', data: {} })(call)
    })
    const calls = Array.from({ length: 64 }, (_, n) => account.meta.init(`many-${n}`))
    await expect.poll(() => slow.received.length, { timeout: 7000 }).toBe(64)
    expect((await account.meta.init('one-too-many')).text).toBe(acknowledged)
    release()
    const answers = await Promise.all(calls)
    expect(answers.every(({ answer }) => answer.screen === 'A')).toBe(true)
    const rows = await relevo.exchanges(account, 65)
    expect(rows.filter((row) => row.outcome === 'overloaded')).toHaveLength(1)
    const headers = { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` }
    const metrics = await (await fetch(`${relevo.url}/metrics`, { headers })).text()
    expect(metrics).toContain('relevo_exchange_duration_seconds_count{outcome="overloaded"} 1')
    seen.add('overloaded')
    await slow.close()
  })

  it('unavailable: nothing was loaded and there is no database to ask', async () => {
    const away = await startRelevo(
      {},
      { database: { url: 'postgres://nobody@127.0.0.1:1/none', drop: async () => {} } },
    )
    const response = await fetch(`${away.url}/api/whatsapp/flows/1/data`, { method: 'POST', body: '{}' })
    expect({ status: response.status, body: await response.text() }).toEqual({ status: 503, body: '' })
    expect((await fetch(`${away.url}/readyz`)).status).toBe(503)
    expect((await fetch(`${away.url}/livez`)).status).toBe(200)
    seen.add('unavailable')
    await away.close()
  })
})
