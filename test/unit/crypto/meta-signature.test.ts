import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { verifyMetaSignature } from '../../../src/crypto/meta-signature.ts'
import { mutate, mutation } from './mutation.ts'
import { hmacVector } from './vectors.ts'

const body = Buffer.from(hmacVector.raw_body_utf8)
const header = hmacVector['header_X-Hub-Signature-256']
const appSecret = hmacVector.app_secret

describe('verifyMetaSignature', () => {
  it('accepts the public vector (V4)', () => {
    expect(verifyMetaSignature(body, header, [appSecret])).toBe(true)
  })

  it('accepts any of several secrets, as while one is rotated', () => {
    expect(verifyMetaSignature(body, header, ['another', appSecret])).toBe(true)
    expect(verifyMetaSignature(body, header, [appSecret, 'another'])).toBe(true)
    expect(verifyMetaSignature(body, header, ['another', 'a third'])).toBe(false)
  })

  it('refuses without a header or without secrets', () => {
    expect(verifyMetaSignature(body, undefined, [appSecret])).toBe(false)
    expect(verifyMetaSignature(body, '', [appSecret])).toBe(false)
    expect(verifyMetaSignature(body, header, [])).toBe(false)
  })

  it('never takes an empty secret for one', () => {
    const forged = `sha256=${createHmac('sha256', '').update(body).digest('hex')}`
    expect(verifyMetaSignature(body, forged, [''])).toBe(false)
    expect(verifyMetaSignature(body, header, ['', appSecret])).toBe(true)
  })

  it('keys with the UTF-8 bytes of the secret', () => {
    const signed = `sha256=${createHmac('sha256', Buffer.from('clé-ñ-🔑')).update(body).digest('hex')}`
    expect(verifyMetaSignature(body, signed, ['clé-ñ-🔑'])).toBe(true)
  })

  it.each([
    ['upper-case digits', header.toUpperCase().replace('SHA256', 'sha256')],
    ['no prefix', header.slice('sha256='.length)],
    ['the prefix of the old header', header.replace('sha256', 'sha1')],
    ['white space before', ` ${header}`],
    ['characters that only look alike when cut to a byte', header.replace('s', '\u0173')],
    ['a lone surrogate', `\ud800${header.slice(1)}`],
    ['two values in one header', `${header}, ${header}`],
  ])('refuses %s', (_, given) => {
    expect(verifyMetaSignature(body, given, [appSecret])).toBe(false)
  })

  it('refuses every change of the body or the header', () => {
    fc.assert(
      fc.property(mutation, (change) => {
        expect(verifyMetaSignature(mutate(body, change), header, [appSecret])).toBe(false)
        expect(verifyMetaSignature(body, mutate(Buffer.from(header), change).toString('latin1'), [appSecret])).toBe(
          false,
        )
      }),
      { numRuns: 500 },
    )
  })

  it('accepts what is signed, for any body and secret, and never throws for any header', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.string({ minLength: 1 }), fc.string(), (bytes, secret, noise) => {
        const signed = `sha256=${createHmac('sha256', secret).update(bytes).digest('hex')}`
        expect(verifyMetaSignature(bytes, signed, [secret])).toBe(true)
        expect(verifyMetaSignature(bytes, noise, [secret])).toBe(false)
      }),
    )
  })
})
