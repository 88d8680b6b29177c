import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  generateKeyPairSync,
  privateDecrypt,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openFlow, ping } from '../../src/simulator/journey.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import {
  invertBits,
  openAnswer,
  readPublicKey,
  sealRequest,
  sealText,
  signBody,
  writeOuter,
} from '../../src/simulator/seal.ts'

const read = (name: string) => JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'))
const init = read('flow-init-pywa')
const session = { aesKey: Buffer.from(init.expected.aes_key_hex, 'hex'), iv: Buffer.from(init.expected.iv_hex, 'hex') }
const privateKey = createPrivateKey({ key: init.private_key_pem, passphrase: init.private_key_passphrase })
const publicKey = readPublicKey(init.public_key_pem)

type Outer = { encrypted_flow_data: string; encrypted_aes_key: string; initial_vector: string }

/** Opens a request with the private key, as an endpoint must (protocol.md 1.3, 1.4). */
function openRequest(body: string) {
  const outer = JSON.parse(body) as Outer
  const wrapped = Buffer.from(outer.encrypted_aes_key, 'base64')
  const key = { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
  const aesKey = privateDecrypt(key, wrapped)
  const iv = Buffer.from(outer.initial_vector, 'base64')
  const sealed = Buffer.from(outer.encrypted_flow_data, 'base64')
  const decipher = createDecipheriv('aes-128-gcm', aesKey, iv)
  decipher.setAuthTag(sealed.subarray(-16))
  const text = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString('utf8')
  return { text, aesKey, iv, wrapped, sealed }
}

describe('against public vectors', () => {
  test('the test endpoint opens the real INIT, so its reading of the key wrap is the right one', () => {
    const opened = openRequest(JSON.stringify(init.request))
    expect(opened.text).toBe(init.expected.plaintext_utf8)
    expect(opened.aesKey.toString('hex')).toBe(init.expected.aes_key_hex)
  })

  test('the same key, IV and plaintext seal to the same bytes', () => {
    expect(sealText(init.expected.plaintext_utf8, session).toString('base64')).toBe(init.request.encrypted_flow_data)
  })

  test('the answer opens with the inverted IV to the exact plaintext', () => {
    expect(invertBits(session.iv).toString('hex')).toBe(init.response.flipped_iv_hex)
    expect(openAnswer(init.response.expected_body_base64, session)).toEqual({
      ok: true,
      text: init.response.plaintext_utf8,
    })
  })

  test('INIT and ping are written as the client writes them', () => {
    expect(writeMessage(openFlow, 'my_flow_token').text).toBe(init.expected.plaintext_utf8)
    const { lengths_bytes } = read('samples-without-key')
    const sealed = openRequest(sealRequest(writeMessage(ping, 'x').text, publicKey, 's').body)
    expect(sealed.sealed.length).toBe(lengths_bytes.encrypted_flow_data)
    expect(sealed.wrapped.length).toBe(lengths_bytes.encrypted_aes_key)
    expect(sealed.iv.length).toBe(lengths_bytes.initial_vector)
  })

  test('a real signature comes out', () => {
    const vector = read('webhook-hmac-pywa')
    expect(signBody(vector.raw_body_utf8, vector.app_secret)).toBe(vector['header_X-Hub-Signature-256'])
  })
})

test('the outer JSON escapes slashes, as Meta does, and keeps its member order', () => {
  const outer = writeOuter({ encrypted_flow_data: 'a/b', encrypted_aes_key: 'c+d', initial_vector: '//==' })
  expect(outer).toBe(String.raw`{"encrypted_flow_data":"a\/b","encrypted_aes_key":"c+d","initial_vector":"\/\/=="}`)
})

test('any plaintext reaches the endpoint unchanged, under a fresh key and IV each time', () => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 2000 }), (plaintext) => {
      const opened = openRequest(sealRequest(plaintext, publicKey, 'app-secret').body)
      expect(opened.text).toBe(plaintext)
      expect([opened.aesKey.length, opened.iv.length]).toEqual([16, 16])
      for (const value of [opened.aesKey, opened.iv]) {
        expect(seen.has(value.toString('hex'))).toBe(false)
        seen.add(value.toString('hex'))
      }
    }),
    { numRuns: 40 },
  )
})

describe('openAnswer', () => {
  const answered = (text: string) => sealText(text, { aesKey: session.aesKey, iv: invertBits(session.iv) })

  test('opens what was sealed with the inverted IV, and nothing sealed with the IV as it came', () => {
    expect(openAnswer(answered('{"screen":"é"}').toString('base64'), session)).toEqual({
      ok: true,
      text: '{"screen":"é"}',
    })
    expect(openAnswer(sealText('{}', session).toString('base64'), session).ok).toBe(false)
  })

  test('any changed, cut or lengthened answer is refused without a throw', () => {
    const sealed = answered('{"screen":"OFFER","data":{}}')
    fc.assert(
      fc.property(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const mutated = Buffer.from(sealed)
        mutated.writeUInt8(mutated.readUInt8(at) ^ change, at)
        expect(openAnswer(mutated.toString('base64'), session).ok).toBe(false)
        expect(openAnswer(sealed.subarray(0, at).toString('base64'), session).ok).toBe(false)
        expect(openAnswer(Buffer.concat([sealed, Buffer.of(change)]).toString('base64'), session).ok).toBe(false)
      }),
      { numRuns: 60 },
    )
  })

  test.each([
    ['', 'not bare base64'],
    [`"${answered('{}').toString('base64')}"`, 'not bare base64'],
    [`${answered('{}').toString('base64')}\n`, 'not bare base64'],
    ['AB-_CD-_AB-_CD-_AB-_CD-_', 'not bare base64'],
    ['AAA', 'not bare base64'],
    ['{"encrypted":"AAAA"}', 'not bare base64'],
    ['AAAA', 'shorter than an authentication tag'],
  ])('%s: %s', (body, problem) => {
    expect(openAnswer(body, session)).toEqual({ ok: false, problem: expect.stringContaining(problem) })
  })

  test('an answer that is not UTF-8', () => {
    const cipher = createCipheriv('aes-128-gcm', session.aesKey, invertBits(session.iv))
    const sealed = Buffer.concat([cipher.update(Buffer.of(0x22, 0xff, 0x22)), cipher.final(), cipher.getAuthTag()])
    expect(openAnswer(sealed.toString('base64'), session)).toEqual({
      ok: false,
      problem: 'the decrypted answer is not UTF-8',
    })
  })
})

describe('readPublicKey', () => {
  test('takes an RSA public key', () => expect(publicKey.asymmetricKeyType).toBe('rsa'))

  test.each([
    ['a private key', init.private_key_pem, 'private key'],
    ['nonsense', 'nonsense', 'PEM'],
    ['another kind', generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }), 'RSA'],
  ])('refuses %s', (_, pem, message) => expect(() => readPublicKey(pem)).toThrow(message))
})
