import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { signBody } from '../../src/simulator/seal.ts'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

/** Every row of contract.md §3's table that needs no webhook, and each refusal. */
describe('what Meta is answered', () => {
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo({ META_APP_SECRETS: 'platform-app-secret' })
    account = await createAccount(relevo)
    tenant = await startTenant()
    await createWebhook(relevo, account, tenant.url)
  })
  afterAll(async () => {
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
  })

  const rowsOf = async (outcome: string) =>
    (await relevo.api('GET', `/v1/exchanges?outcome=${outcome}&limit=100`, { token: account.token })).body.data
  const counted = async (outcome: string): Promise<number> => {
    const response = await fetch(`${relevo.url}/metrics`, {
      headers: { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` },
    })
    const line = (await response.text())
      .split('\n')
      .find((text) => text.startsWith(`relevo_exchange_duration_seconds_count{outcome="${outcome}"}`))
    return Number(line?.split(' ').at(-1) ?? 0)
  }
  const emptyWith = (status: number) => ({ status, raw: '' })

  it('answers a ping without calling a webhook', async () => {
    const { status, text } = await account.meta.call({ version: '3.0', action: 'ping' })
    expect({ status, text }).toEqual({ status: 200, text: '{"data":{"status":"active"}}' })
    expect(tenant.received).toHaveLength(0)
    const [row] = await eventually(async () => {
      const rows = await rowsOf('answered_locally')
      return rows.length > 0 && rows
    })
    expect(row).toMatchObject({ action: 'ping', event: null, webhookId: null, wabaId: account.wabaId })
  })

  it.each([
    ['error', { error: 'invalid-screen-transition', error_message: 'x' }],
    ['empty error', { error: '' }],
    ['error_key', { error_key: 'payload-schema-error', error_message: 'x' }],
  ])('acknowledges an error notification (%s)', async (_name, data) => {
    const { status, text } = await account.meta.call({ version: 300, flow_token: 't', action: 'navigate', data })
    expect({ status, text }).toEqual({ status: 200, text: '{"data":{"acknowledged":true}}' })
  })

  it('asks the webhook about a form that has a field called error', async () => {
    tenant.next(reply({ screen: 'NEXT', data: {} }))
    const { answer } = await account.meta.exchange('FORM', { error: 'none', name: 'x' }, 'token-form')
    expect(answer).toEqual({ screen: 'NEXT', data: {} })
  })

  it.each([
    ['unknown', { action: 'navigate', screen: 'HERE' }],
    ['of wrong case', { action: 'init', screen: 'HERE' }],
    ['missing', { screen: 'HERE' }],
    ['not a string', { action: 7, screen: 'HERE' }],
  ])('sends the current screen with an error message for an action that is %s', async (_name, body) => {
    const { status, answer } = await account.meta.call(body)
    expect(status).toBe(200)
    expect(answer).toEqual({ screen: 'HERE', data: { error_message: expect.any(String) } })
  })

  it('acknowledges an unknown action without a screen', async () => {
    const { text } = await account.meta.call({ action: 'x', screen: null })
    expect(text).toBe('{"data":{"acknowledged":true}}')
    await eventually(async () => (await rowsOf('unknown_action')).length === 5)
  })

  it('refuses an unknown WABA with an empty 404', async () => {
    const before = await counted('unknown_waba')
    const call = account.meta.seal({ action: 'ping' })
    const url = account.endpointUri.replace(account.wabaId, '999')
    const response = await fetch(url, { method: 'POST', body: call.body })
    expect({ status: response.status, raw: await response.text() }).toEqual(emptyWith(404))
    expect(await counted('unknown_waba')).toBe(before + 1)
  })

  it('cuts what a stranger calls a WABA id in the log', async () => {
    const wabaId = '9'.repeat(200)
    const url = account.endpointUri.replace(account.wabaId, wabaId)
    expect((await fetch(url, { method: 'POST', body: '{}' })).status).toBe(404)
    const line = relevo.logs.find((it) => it.outcome === 'unknown_waba' && String(it.wabaId).startsWith('99999'))
    expect(line?.wabaId).toBe(wabaId.slice(0, 64))
  })

  it.each([
    ['missing', null],
    ['wrong', `sha256=${'0'.repeat(64)}`],
    ['short', 'sha256=00'],
    ['of another scheme', `sha1=${'0'.repeat(40)}`],
  ])('refuses a signature that is %s with an empty 432', async (_name, signature) => {
    const answer = await account.meta.send({ ...account.meta.seal({ action: 'ping' }), signature })
    expect(answer).toMatchObject(emptyWith(432))
  })

  it('does not let strangers fill the log: 20 lines of refusals in 10 s, then how many there were', async () => {
    const before = relevo.logs.length
    const call = { ...account.meta.seal({ action: 'ping' }), signature: `sha256=${'0'.repeat(64)}` }
    const answers = await Promise.all(Array.from({ length: 60 }, () => account.meta.send(call)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([432]))
    const lines = relevo.logs.slice(before).filter(({ outcome }) => outcome === 'bad_signature')
    // A new span may begin meanwhile.
    expect(lines.length).toBeLessThanOrEqual(40)
  })

  it('takes a platform app secret on every WABA', async () => {
    const call = account.meta.seal({ action: 'ping' })
    const signature = signBody(call.body.toString(), 'platform-app-secret')
    expect((await account.meta.send({ ...call, signature })).status).toBe(200)
  })

  const signed = (body: string | Buffer) => ({
    body,
    signature: signBody(body as string, account.appSecret),
    session: { aesKey: randomBytes(16), iv: randomBytes(16) },
  })
  it.each([
    ['not JSON', 'hello'],
    ['empty', ''],
    ['an array', '[]'],
    ['lacking a member', '{"encrypted_flow_data":"QUJD","encrypted_aes_key":"QUJD"}'],
    ['with a number', '{"encrypted_flow_data":"QUJD","encrypted_aes_key":"QUJD","initial_vector":12}'],
    ['with an empty string', '{"encrypted_flow_data":"","encrypted_aes_key":"QUJD","initial_vector":"QUJD"}'],
    ['not base64', '{"encrypted_flow_data":"*","encrypted_aes_key":"QUJD","initial_vector":"QUJD"}'],
    ['10,000 deep', `${'['.repeat(10_000)}${']'.repeat(10_000)}`],
    ['10,000 deep inside', `{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}`],
  ])('refuses a body that is %s with an empty 400', async (_name, body) => {
    expect(await account.meta.send(signed(body))).toMatchObject(emptyWith(400))
  })

  it('refuses invalid UTF-8 with 400', async () => {
    const body = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])
    const { createHmac } = await import('node:crypto')
    const signature = `sha256=${createHmac('sha256', account.appSecret).update(body).digest('hex')}`
    expect(await account.meta.send({ ...signed(''), body, signature })).toMatchObject(emptyWith(400))
  })

  it('takes 1 MiB and refuses one byte more with an empty 413', async () => {
    const fits = signed(`"${'a'.repeat(1024 * 1024 - 2)}"`)
    expect(await account.meta.send(fits)).toMatchObject(emptyWith(400))
    const over = signed(`"${'a'.repeat(1024 * 1024 - 1)}"`)
    expect(await account.meta.send(over)).toMatchObject(emptyWith(413))
    expect(await counted('body_too_large')).toBe(1)
  })

  it.each([
    ['under another key', async () => (await createAccount(relevo)).meta.seal({ action: 'ping' }).body],
    ['with a bad tag', async () => spoil(account.meta.seal({ action: 'ping' }).body as string)],
    ['shorter than a tag', async () => shorten(account.meta.seal({ action: 'ping' }).body as string)],
    ['that holds an array', async () => account.meta.seal('[1]').body],
    ['that holds no JSON', async () => account.meta.seal('{').body],
    ['that holds a deep array', async () => account.meta.seal(`${'['.repeat(300)}${']'.repeat(300)}`).body],
  ])('refuses a ciphertext %s with an empty 421 and a row', async (_name, make) => {
    const before = (await rowsOf('undecryptable')).length
    expect(await account.meta.send(signed(await make()))).toMatchObject(emptyWith(421))
    await eventually(async () => (await rowsOf('undecryptable')).length === before + 1)
  })

  it('opens a 12-byte IV', async () => {
    const call = account.meta.seal({ action: 'ping' }, { ivBytes: 12 })
    expect((await account.meta.send(call)).answer).toEqual({ data: { status: 'active' } })
  })

  it('answers GET with 405 on both routes', async () => {
    for (const url of [account.endpointUri, account.endpointUri.replace(/data$/, '123/data')]) {
      const response = await fetch(url)
      expect(response.status).toBe(405)
      expect(response.headers.get('allow')).toBe('POST')
    }
  })

  it('takes any content type, and none', async () => {
    for (const contentType of ['text/plain', 'nonsense', 'application/json; charset=utf-8']) {
      const call = account.meta.seal({ action: 'ping' })
      const answer = await account.meta.send(call, { headers: { 'content-type': contentType } })
      expect(answer.status).toBe(200)
    }
  })

  it('gives a repeated call the first answer, byte for byte, without asking the webhook again', async () => {
    tenant.next(reply({ screen: 'ONCE', data: { n: 1 } }))
    const call = account.meta.seal({ action: 'data_exchange', screen: 'A', flow_token: 'repeated-token', data: {} })
    const [first, second] = await Promise.all([account.meta.send(call), account.meta.send(call)])
    const third = await account.meta.send(call)
    expect(first.answer).toEqual({ screen: 'ONCE', data: { n: 1 } })
    expect([second.raw, third.raw]).toEqual([first.raw, first.raw])
    const rows = await eventually(async () => {
      const { body } = await relevo.api('GET', '/v1/exchanges?flowToken=repeated-token', { token: account.token })
      return body.data.length === 3 && body.data.every((row: { outcome: unknown }) => row.outcome !== null) && body.data
    })
    expect(rows.map((row: { outcome: string }) => row.outcome).sort()).toEqual(['repeated', 'repeated', 'replied'])
  })
})

describe('signatures', () => {
  it('refuses every call and says why when no app secret is known', async () => {
    const relevo = await startRelevo()
    const account = await createAccount(relevo, { appSecrets: [] })
    for (let call = 0; call < 2; call++) {
      expect(await account.meta.call({ action: 'ping' })).toMatchObject({ status: 432, raw: '' })
    }
    // Anybody can call it: said once in a minute.
    const [complaint, ...more] = relevo.logs.filter((line) => line.level === 'error')
    expect(complaint).toMatchObject({ wabaId: account.wabaId, msg: expect.stringContaining('no app secret') })
    expect(more).toEqual([])
    await relevo.close()
  })

  it('are not asked for with META_SIGNATURE=off, which is warned about', async () => {
    const relevo = await startRelevo({ META_SIGNATURE: 'off' })
    const account = await createAccount(relevo, { appSecrets: [] })
    const answer = await account.meta.send({ ...account.meta.seal({ action: 'ping' }), signature: null })
    expect(answer.answer).toEqual({ data: { status: 'active' } })
    expect(relevo.logs.some((line) => String(line.msg).includes('META_SIGNATURE=off'))).toBe(true)
    await relevo.close()
  })
})

function spoil(body: string): string {
  const call = JSON.parse(body)
  const bytes = Buffer.from(call.encrypted_flow_data, 'base64')
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1)
  return JSON.stringify({ ...call, encrypted_flow_data: bytes.toString('base64') })
}

function shorten(body: string): string {
  return JSON.stringify({ ...JSON.parse(body), encrypted_flow_data: Buffer.from('short').toString('base64') })
}
