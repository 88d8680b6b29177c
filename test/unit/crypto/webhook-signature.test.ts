import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  generateWebhookSecret,
  readSigningSecret,
  standardWebhookSignature,
  webhookSignature,
} from '../../../src/crypto/webhook-signature.ts'
import { hmacVector } from './vectors.ts'

// The vector of the Standard Webhooks libraries and of Svix's documentation.
const published = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: 1614265330,
  body: Buffer.from('{"test": 2432232314}'),
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const sign = (...secrets: string[]) =>
  standardWebhookSignature(published.id, published.timestamp, published.body, secrets.map(readSigningSecret))
const signedWith = (hmacKey: Buffer | string) =>
  `v1,${createHmac('sha256', hmacKey).update(`${published.id}.${published.timestamp}.${published.body}`).digest('base64')}`

describe('webhookSignature', () => {
  it('is what Meta would send for the same body and secret (V4)', () => {
    expect(webhookSignature(Buffer.from(hmacVector.raw_body_utf8), readSigningSecret(hmacVector.app_secret))).toBe(
      hmacVector['header_X-Hub-Signature-256'],
    )
  })

  it('fits RFC 4231, test case 2', () => {
    expect(webhookSignature(Buffer.from('what do ya want for nothing?'), readSigningSecret('Jefe'))).toBe(
      'sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    )
  })

  it('keys with the whole secret as text, whsec_ included', () => {
    const expected = createHmac('sha256', Buffer.from(published.secret)).update(published.body).digest('hex')
    expect(webhookSignature(published.body, readSigningSecret(published.secret))).toBe(`sha256=${expected}`)
  })
})

describe('standardWebhookSignature', () => {
  it('gives the published signature', () => {
    expect(sign(published.secret)).toBe(published.signature)
  })

  it('gives one per secret, in order', () => {
    const other = generateWebhookSecret()
    expect(sign(other, published.secret)).toBe(`${sign(other)} ${published.signature}`)
    expect(sign()).toBe('')
  })

  it('signs the bytes of the body, whatever they are', () => {
    const body = Buffer.of(0xff, 0x00, 0xc3)
    const expected = createHmac('sha256', 'plain').update('m.1.').update(body).digest('base64')
    expect(standardWebhookSignature('m', 1, body, [readSigningSecret('plain')])).toBe(`v1,${expected}`)
  })

  it.each([
    ['padded', 'whsec_AAECAw==', Buffer.of(0, 1, 2, 3)],
    ['padding left out', 'whsec_AAECAw', Buffer.of(0, 1, 2, 3)],
  ])('keys with the decoded bytes: %s', (_, secret, hmacKey) => {
    expect(sign(secret)).toBe(signedWith(hmacKey))
  })

  it.each([
    ['no prefix', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['not ASCII', 'contraseña'],
    ['nothing after the prefix', 'whsec_'],
    ['a hyphen', 'whsec_my-own-secret'],
    ['too much padding', 'whsec_AAECAwQF===='],
    ['too little padding', 'whsec_AAECAw='],
    ['one character over', 'whsec_AAECA'],
    ['white space', 'whsec_AAEC Aw=='],
    ['a line end', 'whsec_AAEC\n'],
    ['the prefix in upper case', 'WHSEC_AAEC'],
  ])('keys with the text of the whole secret: %s', (_, secret) => {
    expect(sign(secret)).toBe(signedWith(Buffer.from(secret)))
  })

  it('never throws, and every entry is 32 bytes in base64', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 4 }), (secrets) => {
        const entries = sign(...secrets, ...secrets.map((secret) => `whsec_${secret}`)).split(' ')
        for (const entry of entries) expect(entry).toMatch(/^(v1,[A-Za-z0-9+/]{43}=)?$/)
        expect(entries).toHaveLength(Math.max(1, secrets.length * 2))
      }),
    )
  })
})

describe('generateWebhookSecret', () => {
  it('makes whsec_ and 32 bytes, new each time', () => {
    const secrets = Array.from({ length: 20 }, generateWebhookSecret)
    for (const secret of secrets) {
      expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
      expect(sign(secret)).toBe(signedWith(Buffer.from(secret.slice(6), 'base64')))
    }
    expect(new Set(secrets).size).toBe(secrets.length)
  })
})
