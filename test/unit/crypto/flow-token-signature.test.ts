import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { verifyFlowTokenSignature } from '../../../src/crypto/flow-token-signature.ts'
import { mutate, mutation } from './mutation.ts'

const appSecret = 'app-secret-of-the-test'
const flowToken = 'order-42'
const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

function jwt(
  claims: unknown,
  { header = { alg: 'HS256', typ: 'JWT' } as unknown, secret = appSecret, hash = 'sha256' } = {},
) {
  const signed = `${segment(header)}.${segment(claims)}`
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`
}

/** Signed as it should be, over parts that are not base64url as RFC 7515 wants it. */
function signedParts(header: string, claims: string) {
  return `${header}.${claims}.${createHmac('sha256', appSecret).update(`${header}.${claims}`).digest('base64url')}`
}

const good = jwt({ flow_token: flowToken, iat: 1 })
const judge = (given: unknown, token: string | null = flowToken, secrets = [appSecret]) =>
  verifyFlowTokenSignature(given, token, secrets)

describe('verifyFlowTokenSignature', () => {
  it('verifies a token made by another implementation (Python, hmac)', () => {
    const fixed =
      'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJmbG93X3Rva2VuIjoib3JkZXItNDIiLCJpYXQiOjE3MDAwMDAwMDB9.7sBUM2EIzlZ2uZqNgMs0j-H0U0_37Na1ehkki_XnKhY'
    expect(judge(fixed)).toBe('verified')
  })

  it('verifies, under any of several secrets', () => {
    expect(judge(good)).toBe('verified')
    expect(judge(good, flowToken, ['another', appSecret])).toBe('verified')
  })

  it.each([undefined, null, ''])('is absent for %j', (given) => {
    expect(judge(given)).toBe('absent')
  })

  it.each([
    ['another token', jwt({ flow_token: 'order-43' })],
    ['no token in it', jwt({ iat: 1 })],
    ['another secret', jwt({ flow_token: flowToken }, { secret: 'another' })],
    ['alg none', jwt({ flow_token: flowToken }, { header: { alg: 'none' } })],
    ['alg none, unsigned', `${segment({ alg: 'none' })}.${segment({ flow_token: flowToken })}.`],
    ['alg HS512', jwt({ flow_token: flowToken }, { header: { alg: 'HS512' }, hash: 'sha512' })],
    ['alg in lower case', jwt({ flow_token: flowToken }, { header: { alg: 'hs256' } })],
    ['no alg', jwt({ flow_token: flowToken }, { header: {} })],
    ['critical extensions', jwt({ flow_token: flowToken }, { header: { alg: 'HS256', crit: ['b64'], b64: false } })],
    ['a header that is not an object', jwt({ flow_token: flowToken }, { header: ['HS256'] })],
    ['claims that are not an object', jwt(flowToken)],
    ['a fourth part', `${good}.x`],
    ['two parts', good.slice(0, good.lastIndexOf('.'))],
    ['padding', `${good}=`],
    ['padded claims', signedParts(segment({ alg: 'HS256' }), `${segment({ flow_token: flowToken })}=`)],
    ['a padded header', signedParts(`${segment({ alg: 'HS256' })}=`, segment({ flow_token: flowToken }))],
    ['white space', ` ${good}`],
    ['a number', 5],
    ['an object', { flow_token: flowToken }],
    ['an array', [good]],
  ])('is invalid with %s', (_, given) => {
    expect(judge(given)).toBe('invalid')
  })

  it('reads a header of 1,024 characters and no longer: nothing has proved yet whose it is', () => {
    const withHeader = (length: number) => {
      const pad = 'x'.repeat((length / 4) * 3 - JSON.stringify({ alg: 'HS256', pad: '' }).length)
      return jwt({ flow_token: flowToken }, { header: { alg: 'HS256', pad } })
    }
    expect(withHeader(1024).indexOf('.')).toBe(1024)
    expect(judge(withHeader(1024))).toBe('verified')
    expect(judge(withHeader(1028))).toBe('invalid')
  })

  it('reads claims of 10,000 values and no more, though they are signed', () => {
    const withValues = (count: number) => jwt({ flow_token: flowToken, x: Array(count - 2).fill(0) })
    expect(judge(withValues(10_000))).toBe('verified')
    expect(judge(withValues(10_001))).toBe('invalid')
  })

  it('is invalid without a token to compare, without secrets, and under an empty one', () => {
    expect(judge(good, null)).toBe('invalid')
    expect(judge(jwt({ flow_token: null }), null)).toBe('invalid')
    expect(judge(good, flowToken, [])).toBe('invalid')
    expect(judge(jwt({ flow_token: flowToken }, { secret: '' }), flowToken, [''])).toBe('invalid')
  })

  it('verifies any token and secret, invalidates any change, and never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ minLength: 1 }), mutation, (token, secret, change) => {
        const signed = jwt({ flow_token: token }, { secret })
        expect(judge(signed, token, [secret])).toBe('verified')
        const changed = mutate(Buffer.from(signed), change).toString('latin1')
        expect(judge(changed, token, [secret])).toBe(changed === '' ? 'absent' : 'invalid')
      }),
      { numRuns: 300 },
    )
    fc.assert(fc.property(fc.anything(), (given) => judge(given) !== 'verified'))
  })
})
