import { constants, createHmac, publicEncrypt, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sealBytes } from '../../src/simulator/seal.ts'
import { eventually } from '../support/eventually.ts'
import type { SealedCall } from '../support/meta.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const acknowledged = '{"data":{"acknowledged":true}}'
const nested = (depth: number, open = '{"a":', close = '}', core = '1') =>
  open.repeat(depth) + core + close.repeat(depth)
const mebibyte = 1024 * 1024

/** Issue 2 "Bad input": none crashes, none is a 5xx, and what comes after is served. bad-http.test.ts has what is below the body. */
describe('bad input', () => {
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant
  const rejections: unknown[] = []
  const noteRejection = (reason: unknown) => void rejections.push(reason)

  beforeAll(async () => {
    process.on('unhandledRejection', noteRejection)
    // A busy machine must not change what is tested here.
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
  })
  afterAll(async () => {
    expect((await account.meta.call({ action: 'ping' })).text).toBe('{"data":{"status":"active"}}')
    expect((await account.meta.init('after-all')).answer).toEqual({ screen: 'NEXT', data: {} })
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
    process.off('unhandledRejection', noteRejection)
    expect(rejections).toEqual([])
    expect(relevo.logs.filter(({ msg }) => String(msg).includes('failed inside'))).toEqual([])
  })

  /** A body as it is, under a good signature. */
  const signed = (body: string | Buffer): SealedCall => ({
    body,
    signature: `sha256=${createHmac('sha256', account.appSecret).update(body).digest('hex')}`,
    session: { aesKey: randomBytes(16), iv: randomBytes(16) },
  })
  const outer = (members: object) => signed(JSON.stringify(members))
  const good = () => JSON.parse(account.meta.seal({ action: 'ping' }).body.toString())
  const text = 'QUJDRA=='

  const refusedBodies: [string, number, () => SealedCall][] = [
    ['1 MiB + 1 byte', 413, () => signed(`"${'a'.repeat(mebibyte - 1)}"`)],
    ['8 MiB', 413, () => signed(Buffer.alloc(8 * mebibyte, 'a'))],
    ['nothing', 400, () => signed('')],
    ['a NUL', 400, () => signed('\0')],
    ['null', 400, () => signed('null')],
    ['a byte order mark first', 400, () => signed(`\uFEFF${JSON.stringify(good())}`)],
    ['two documents', 400, () => signed('{}{}')],
    ['invalid UTF-8', 400, () => signed(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]))],
    ['UTF-16', 400, () => signed(Buffer.from(JSON.stringify(good()), 'utf16le'))],
    ['objects 10,000 deep', 400, () => signed(nested(10_000))],
    ['arrays half a million deep', 400, () => signed(nested(500_000, '[', ']'))],
    ['brackets that never close', 400, () => signed('['.repeat(mebibyte))],
    ['numbers as base64', 400, () => outer({ encrypted_flow_data: 1, encrypted_aes_key: 2, initial_vector: 3 })],
    ['empty strings', 400, () => outer({ encrypted_flow_data: '', encrypted_aes_key: '', initial_vector: '' })],
    ['nulls', 400, () => outer({ encrypted_flow_data: null, encrypted_aes_key: text, initial_vector: text })],
    ['arrays', 400, () => outer({ encrypted_flow_data: [text], encrypted_aes_key: text, initial_vector: text })],
    ['no base64', 400, () => outer({ ...good(), initial_vector: '!"§$' })],
    ['base64url', 400, () => outer({ ...good(), initial_vector: '__-_' })],
    ['base64 in lines', 400, () => outer({ ...good(), initial_vector: 'QUJD\nRA==' })],
    ['a __proto__ with the strings', 400, () => signed(`{"__proto__":${JSON.stringify(good())}}`)],
    ['an AES key blob of a few bytes', 421, () => outer({ ...good(), encrypted_aes_key: text })],
    ['an AES key blob of 512 kB', 421, () => outer({ ...good(), encrypted_aes_key: 'A'.repeat(512 * 1024) })],
    ['an AES key of 32 bytes', 421, () => outer({ ...good(), encrypted_aes_key: wrapped(randomBytes(32)) })],
    ['an AES key of no bytes', 421, () => outer({ ...good(), encrypted_aes_key: wrapped(Buffer.alloc(0)) })],
    ['an IV of 15 bytes', 421, () => outer({ ...good(), initial_vector: base64(15) })],
    ['an IV of 512 kB', 421, () => outer({ ...good(), initial_vector: base64(384 * 1024) })],
    ['a tag and no data', 421, () => outer({ ...good(), encrypted_flow_data: base64(16) })],
    ['less than a tag', 421, () => outer({ ...good(), encrypted_flow_data: base64(3) })],
    ['data of another call', 421, () => outer({ ...good(), encrypted_flow_data: good().encrypted_flow_data })],
  ]
  it.each(refusedBodies)('as the body: %s gets an empty %i', async (_name, status, make) => {
    expect(await account.meta.send(make())).toMatchObject({ status, raw: '' })
  })

  const refusedPlaintexts: [string, () => SealedCall][] = [
    ['an array', () => account.meta.seal('[]')],
    ['an array of a good object', () => account.meta.seal('[{"action":"ping"}]')],
    ['a string', () => account.meta.seal('"ping"')],
    ['null', () => account.meta.seal('null')],
    ['a number', () => account.meta.seal('1e999')],
    ['broken JSON', () => account.meta.seal('{"action":"ping"')],
    ['a lone newline', () => account.meta.seal('\n')],
    ['arrays 10,000 deep', () => account.meta.seal(nested(10_000, '[', ']'))],
    ['invalid UTF-8', () => sealed(Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xc3, 0x28, 0x22, 0x7d]))],
    ['random bytes', () => sealed(randomBytes(64))],
  ]
  it.each(refusedPlaintexts)('as the plaintext: %s gets an empty 421', async (_name, make) => {
    expect(await account.meta.send(make())).toMatchObject({ status: 421, raw: '' })
  })

  const exchange = { action: 'data_exchange', screen: 'A', data: {}, flow_token: 'bad-input', version: '3.0' }
  const fallbacks: [string, string][] = [
    ['201 levels', `{"action":"INIT","data":${nested(200)}}`],
    ['10,000 levels', `{"action":"data_exchange","screen":"A","data":${nested(10_000)}}`],
    ['150,000 levels', `{"action":"BACK","data":{"a":${nested(150_000, '[', ']')}}}`],
    ['a ping of 201 levels', `{"action":"ping","x":${nested(200)}}`],
  ]
  it.each(fallbacks)('%s are answered with the fallback', async (_name, plaintext) => {
    const before = tenant.received.length
    expect(await account.meta.call(plaintext)).toMatchObject({ status: 200, text: acknowledged })
    expect(tenant.received).toHaveLength(before)
  })

  it('201 levels are answered with the fallback that the webhook chose, and the row names it', async () => {
    const own = await createAccount(relevo)
    const fallback = { mode: 'static', reply: { screen: 'LATER', data: {} } }
    const webhook = await createWebhook(relevo, own, tenant.url, { fallback })
    const before = tenant.received.length
    const { answer } = await own.meta.call(`{"action":"data_exchange","screen":"A","data":${nested(200)}}`)
    expect(answer).toEqual({ screen: 'LATER', data: {} })
    const [row] = await relevo.exchanges(own, 1)
    expect(row).toMatchObject({ outcome: 'internal_error', webhookId: webhook.id, screen: 'A' })
    expect(tenant.received).toHaveLength(before)
  })

  it('200 levels are relayed', async () => {
    const payload = nested(199)
    const { answer } = await account.meta.call(`{"action":"INIT","data":${payload}}`)
    expect(answer).toEqual({ screen: 'NEXT', data: {} })
    const envelope = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '')
    expect(envelope.data.flowExchange.payload).toEqual(JSON.parse(payload))
  })

  it.each(['Init', 'INIT ', 'ping\n', 'PING', 'DATA_EXCHANGE', 'back', 'navigate', '', '__proto__', 'constructor'])(
    'the action %j is answered with the current screen',
    async (action) => {
      const { status, answer } = await account.meta.call({ ...exchange, action })
      expect({ status, answer }).toEqual({
        status: 200,
        answer: { screen: 'A', data: { error_message: expect.any(String) } },
      })
    },
  )

  it.each([undefined, null, 7, true, ['INIT'], { INIT: 1 }, 'x'.repeat(100_000)])(
    'an action of another kind is answered with the current screen (%#)',
    async (action) => {
      const { status, answer } = await account.meta.call({ ...exchange, action })
      expect({ status, screen: answer.screen }).toEqual({ status: 200, screen: 'A' })
    },
  )

  const relayed: [string, object][] = [
    ['data null', { data: null }],
    ['data of text', { data: 'x' }],
    ['data with a member __proto__', { data: JSON.parse('{"__proto__":{"polluted":true}}') }],
    ['a screen of 10 kB', { screen: 'S'.repeat(10_240) }],
    ['a screen of 10 kB of emoji', { screen: '🎉'.repeat(2560) }],
    ['a screen with a NUL', { screen: 'A\0B' }],
    ['a screen that is half a pair', { screen: '\udc00' }],
    ['a token with newlines', { flow_token: 'a\r\nx-injected: 1\r\n\r\n' }],
    ['a token of emoji', { flow_token: '🎉💥' }],
    ['a token of 4 kB', { flow_token: 't'.repeat(4096) }],
    ['a token of 512 kB', { flow_token: 'ü'.repeat(256 * 1024) }],
    ['a token with a NUL', { flow_token: 'a\0b' }],
    ['a token that is half a pair', { flow_token: '\ud83c' }],
    ['a token that is a number', { flow_token: 7 }],
    ['a version of 100 kB', { version: '3'.repeat(100_000) }],
    ['a version that is an object', { version: {} }],
    ['a token signature of 100 kB', { flow_token_signature: `${'a'.repeat(100_000)}.b.c` }],
    ['a token signature of dots', { flow_token_signature: '.'.repeat(100_000) }],
    ['a token signature that is an array', { flow_token_signature: ['a.b.c'] }],
    ['ten thousand members', { data: Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`m${n}`, n])) }],
  ]
  it.each(relayed)('%s is relayed in a valid request, and its row is closed', async (_name, sent) => {
    const before = tenant.received.length
    const { status, answer } = await account.meta.call({ ...exchange, ...sent })
    expect({ status, answer }).toEqual({ status: 200, answer: { screen: 'NEXT', data: {} } })
    expect(tenant.received).toHaveLength(before + 1)
    expect(tenant.received.at(-1)?.headers).not.toHaveProperty('x-injected')
    const { id } = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '')
    expect(await closedRow(id)).toMatchObject({ outcome: 'replied' })
    expect(Object.prototype).not.toHaveProperty('polluted')
  })

  async function closedRow(id: string) {
    return eventually(async () => {
      const { body } = await relevo.api('GET', `/v1/exchanges/${id}`, { token: account.token })
      return body.outcome != null && body
    })
  }

  function wrapped(aesKey: Buffer): string {
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    return publicEncrypt({ key: account.publicKey, padding, oaepHash: 'sha256' }, aesKey).toString('base64')
  }

  /** As `meta.seal`, for bytes that are no text. */
  function sealed(plaintext: Buffer): SealedCall {
    const session = { aesKey: randomBytes(16), iv: randomBytes(16) }
    return outer({
      encrypted_flow_data: sealBytes(plaintext, session).toString('base64'),
      encrypted_aes_key: wrapped(session.aesKey),
      initial_vector: session.iv.toString('base64'),
    })
  }
})

const base64 = (bytes: number) => randomBytes(bytes).toString('base64')
