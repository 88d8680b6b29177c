import { execFileSync } from 'node:child_process'
import type { KeyObject } from 'node:crypto'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  exportPrivateKey,
  exportPrivateKeyPem,
  FlowKeyUnreadable,
  generatePrivateKey,
  importPrivateKey,
  publicKeyFingerprint,
  publicKeyPem,
  readPrivateKey,
} from '../../../src/crypto/flow-key.ts'
import { mutate, mutation } from './mutation.ts'
import { flowVector } from './vectors.ts'

const passphrase = 'correct horse ñ'
const flowKey = createPrivateKey({ key: flowVector.private_key_pem, passphrase: flowVector.private_key_passphrase })
const encryptedWith = (cipher: string) => ({ cipher, passphrase })
const pem = (type: 'pkcs1' | 'pkcs8', encryption = {}) =>
  flowKey.export({ type, format: 'pem', ...encryption }).toString()

function refusal(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof FlowKeyUnreadable) return error.message
    throw error
  }
  return 'read'
}

const forms: [string, string, string?][] = [
  ['PKCS#1', pem('pkcs1')],
  ['PKCS#8', pem('pkcs8')],
  ['PKCS#1, 3DES', pem('pkcs1', encryptedWith('des-ede3-cbc')), passphrase],
  ['PKCS#1, AES-256', pem('pkcs1', encryptedWith('aes-256-cbc')), passphrase],
  ['PKCS#8, 3DES', pem('pkcs8', encryptedWith('des-ede3-cbc')), passphrase],
  ['PKCS#8, AES-256', pem('pkcs8', encryptedWith('aes-256-cbc')), passphrase],
  ['the public vector', flowVector.private_key_pem, flowVector.private_key_passphrase],
]

const journeys: [string, (text: string) => string][] = [
  ['as it is', (text) => text],
  ['indented', (text) => text.replace(/^/gm, '    ')],
  ['indented by tabs', (text) => text.replace(/^/gm, '\t')],
  ['with CRLF', (text) => text.replaceAll('\n', '\r\n')],
  ['with CR alone', (text) => text.replaceAll('\n', '\r')],
  ['with \\n written out', (text) => text.replaceAll('\n', '\\n')],
  ['with \\r\\n written out', (text) => text.replaceAll('\n', '\\r\\n')],
  ['with \\n escaped twice', (text) => text.replaceAll('\n', '\\\\n')],
  ['as a JSON string', (text) => JSON.stringify(text)],
  ['in single quotes, with space around', (text) => `  '${text}'\n\n`],
  ['in one line, with spaces', (text) => text.replaceAll('\n', ' ')],
  ['without a last line end', (text) => text.trimEnd()],
  ['after a byte order mark and a comment', (text) => `\ufeffflow key\n${text}`],
  ['after a certificate', (text) => `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${text}`],
]

describe.each(forms)('readPrivateKey reads %s', (_, text, phrase) => {
  it.each(journeys)('%s', (_, travel) => {
    expect(readPrivateKey(travel(text), phrase).equals(flowKey)).toBe(true)
  })
})

const openssl = (args: string[], input = '') => execFileSync('openssl', args, { input, stdio: 'pipe' }).toString()
const hasOpenssl = (() => {
  try {
    return openssl(['version']).startsWith('OpenSSL 3')
  } catch {
    return false
  }
})()

describe.skipIf(!hasOpenssl)('readPrivateKey reads what the openssl command writes', () => {
  const source = pem('pkcs8')
  it.each([
    ['PKCS#1, 3DES', ['rsa', '-traditional', '-des3', '-passout', 'pass:flows']],
    ['PKCS#1, AES-128', ['rsa', '-traditional', '-aes128', '-passout', 'pass:flows']],
    ['PKCS#8, AES-256', ['pkcs8', '-topk8', '-v2', 'aes-256-cbc', '-passout', 'pass:flows']],
    ['PKCS#8, 600,000 iterations', ['pkcs8', '-topk8', '-iter', '600000', '-passout', 'pass:flows']],
    ['PKCS#8, scrypt', ['pkcs8', '-topk8', '-scrypt', '-passout', 'pass:flows']],
    ['PKCS#8, the PKCS#12 form', ['pkcs8', '-topk8', '-v1', 'PBE-SHA1-3DES', '-passout', 'pass:flows']],
  ])('%s', (_, args) => {
    const text = openssl(args, source)
    expect(text).not.toBe(source)
    expect(readPrivateKey(text, 'flows').equals(flowKey)).toBe(true)
    expect(refusal(() => readPrivateKey(text, 'flow'))).toMatch(/passphrase .* wrong/)
    expect(refusal(() => readPrivateKey(text))).toMatch(/passphrase is missing/)
  })

  it.each([
    ['iterations', ['-iter', '2000000']],
    ['scrypt work', ['-scrypt', '-scrypt_N', '32768', '-scrypt_r', '1', '-scrypt_p', '64']],
  ])('but not one that would hold the event loop: %s', (_, cost) => {
    const text = openssl(['pkcs8', '-topk8', ...cost, '-passout', 'pass:flows'], source)
    expect(refusal(() => readPrivateKey(text, 'flows'))).toMatch(/too many rounds/)
    const mislabelled = text.replaceAll('ENCRYPTED PRIVATE', 'PRIVATE')
    expect(refusal(() => readPrivateKey(mislabelled, 'flows'))).toMatch(/too many rounds/)
  })
})

describe('readPrivateKey refuses', () => {
  const encrypted = pem('pkcs8', encryptedWith('aes-256-cbc'))
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey
  const pkcs8 = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()

  it.each([
    ['an empty text', '', undefined, 'the private key is not PEM'],
    ['another text', 'hello', undefined, 'the private key is not PEM'],
    ['a text that is too long', pem('pkcs8') + ' '.repeat(40_000), undefined, 'the private key is not PEM'],
    ['a body that is not base64', pem('pkcs8').replace('MII', 'M!I'), undefined, 'the private key is not PEM'],
    ['no end', pem('pkcs8').slice(0, -30), undefined, 'the private key is not PEM'],
    ['the public key', flowVector.public_key_pem, undefined, 'this is a public key; the private key is needed'],
    ['no passphrase', encrypted, undefined, 'the private key is encrypted and its passphrase is missing'],
    ['an empty passphrase', encrypted, '', 'the private key is encrypted and its passphrase is missing'],
    ['a wrong passphrase', encrypted, 'wrong', 'the passphrase of the private key is wrong, or the key is damaged'],
    [
      'an endless passphrase',
      encrypted,
      'x'.repeat(5000),
      'the passphrase of the private key is wrong, or the key is damaged',
    ],
    [
      'a label that does not fit',
      pem('pkcs1').replaceAll('RSA PRIVATE', 'PRIVATE'),
      undefined,
      'the private key is damaged, or not what its first line says',
    ],
    [
      'an elliptic curve',
      pkcs8(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
      undefined,
      'the private key is not RSA',
    ],
    [
      'RSA-PSS',
      pkcs8(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey),
      undefined,
      'the private key is not RSA',
    ],
    ['1024 bits', pkcs8(rsa(1024)), undefined, 'the private key is under 2048 bits'],
    [
      'the old encryption around PKCS#8',
      pem('pkcs1', encryptedWith('aes-128-cbc')).replaceAll('RSA PRIVATE', 'ENCRYPTED PRIVATE'),
      passphrase,
      'the private key is not RSA in PKCS#1 or PKCS#8',
    ],
  ])('%s', (_, text, phrase, message) => {
    expect(refusal(() => readPrivateKey(text, phrase))).toBe(message)
  })

  it('a key of more than 4096 bits, before it computes with it', () => {
    const part = (bytes: number) => Buffer.alloc(bytes, 0xf1).toString('base64url')
    const half = part(300)
    const jwk = { kty: 'RSA', n: part(600), e: 'AQAB', d: part(600), p: half, q: half, dp: half, dq: half, qi: half }
    const huge = createPrivateKey({ key: jwk, format: 'jwk' })
    expect(refusal(() => readPrivateKey(pkcs8(huge)))).toBe('the private key is over 4096 bits')
    expect(refusal(() => importPrivateKey(exportPrivateKey(huge)))).toBe('the private key is over 4096 bits')
  })

  it('SEC 1 and OpenSSH keys by name', () => {
    const sec1 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'sec1', format: 'pem' })
    expect(refusal(() => readPrivateKey(sec1.toString()))).toMatch(/not RSA/)
    const ssh = '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----'
    expect(refusal(() => readPrivateKey(ssh))).toMatch(/OpenSSH/)
  })

  it('a damaged key, or reads it as the one it was; no other error, no key material in the message', () => {
    const der = flowKey.export({ type: 'pkcs8', format: 'der' })
    fc.assert(
      fc.property(mutation, (change) => {
        const body = mutate(der, change).toString('base64')
        const text = `-----BEGIN PRIVATE KEY-----\n${body}\n-----END PRIVATE KEY-----`
        const message = refusal(() => {
          const read = readPrivateKey(text)
          expect(publicKeyPem(read)).toBe(flowVector.public_key_pem)
        })
        expect(message).toMatch(/^(read|the private key [a-z0-9 ,;:.#]+)$/i)
      }),
      { numRuns: 200 },
    )
  })

  it('any noise between the lines, quickly', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (noise) => {
        const text = `-----BEGIN PRIVATE KEY-----${noise}-----END PRIVATE KEY-----`
        expect(refusal(() => readPrivateKey(text, passphrase))).not.toBe('read')
      }),
    )
    expect(refusal(() => readPrivateKey('-----BEGIN PRIVATE KEY-----'.repeat(1200)))).toBe('the private key is not PEM')
  })
})

describe('a flow key', () => {
  let made: KeyObject
  beforeAll(async () => {
    made = await generatePrivateKey()
  })

  it('is RSA-2048 when made here', () => {
    expect(made.asymmetricKeyType).toBe('rsa')
    expect(made.asymmetricKeyDetails?.modulusLength).toBe(2048)
  })

  it('survives export and import', () => {
    const der = exportPrivateKey(made)
    expect(importPrivateKey(der).equals(made)).toBe(true)
    expect(importPrivateKey(new Uint8Array(der)).equals(made)).toBe(true)
    expect(() => importPrivateKey(der.subarray(1))).toThrow(FlowKeyUnreadable)
  })

  it('survives PEM, encrypted or not', () => {
    expect(readPrivateKey(exportPrivateKeyPem(made)).equals(made)).toBe(true)
    expect(exportPrivateKeyPem(made, '')).toBe(exportPrivateKeyPem(made))
    const encrypted = exportPrivateKeyPem(made, passphrase)
    expect(encrypted).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/)
    expect(readPrivateKey(encrypted, passphrase).equals(made)).toBe(true)
    expect(() => readPrivateKey(encrypted)).toThrow(FlowKeyUnreadable)
  })

  it('has the public half of the vector, and its fingerprint', () => {
    expect(publicKeyPem(flowKey)).toBe(flowVector.public_key_pem)
    expect(publicKeyFingerprint(flowKey)).toMatch(/^[0-9a-f]{64}$/)
    expect(publicKeyFingerprint(flowKey)).not.toBe(publicKeyFingerprint(made))
  })

  it.skipIf(!hasOpenssl)('has the fingerprint that openssl gives', () => {
    const der = execFileSync('openssl', ['pkey', '-pubin', '-outform', 'DER'], { input: flowVector.public_key_pem })
    const digest = execFileSync('openssl', ['dgst', '-sha256', '-r'], { input: der }).toString()
    expect(digest.split(' ')[0]).toBe(publicKeyFingerprint(flowKey))
  })
})

/** OpenSSL opens with all of these, some 12 times as slowly: what a call costs would be its tenant's to choose. */
describe('a key whose parts are not those of RFC 8017', () => {
  const number = (text: string | undefined) => BigInt(`0x${Buffer.from(text ?? '', 'base64url').toString('hex')}`)
  const textOf = (value: bigint) => {
    const hex = value.toString(16)
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url')
  }
  const jwk = flowKey.export({ format: 'jwk' })
  const [n, e, p, q] = [number(jwk.n), number(jwk.e), number(jwk.p), number(jwk.q)]
  const pemOf = (parts: object) =>
    createPrivateKey({ key: { ...jwk, ...parts }, format: 'jwk' })
      .export({ type: 'pkcs8', format: 'pem' })
      .toString()

  it('is read as long as they are', () => {
    expect(refusal(() => readPrivateKey(pemOf({})))).toBe('read')
  })

  it.each([
    ['a longer dp', { dp: textOf(number(jwk.dp) + (p - 1n) * 2n ** 1000n) }],
    ['a longer dq', { dq: textOf(number(jwk.dq) + (q - 1n) * 2n ** 1000n) }],
    ['another dp', { dp: textOf(number(jwk.dp) ^ 2n) }],
    ['a long e', { e: textOf(e + (p - 1n) * (q - 1n)) }],
    ['a longer qi', { qi: textOf(number(jwk.qi) + p * 2n) }],
    ['another q', { q: textOf(q + 2n) }],
    ['halves that are the same', { p: textOf(1n), q: textOf(n) }],
  ])('is refused with %s', (_, parts) => {
    const text = pemOf(parts)
    expect(refusal(() => readPrivateKey(text))).toMatch(/do not fit together|is damaged/)
  })
})

it('a run of backslashes is walked once, and not from each of them', () => {
  const text = '\\'.repeat(32_000)
  const startedAt = performance.now()
  // Ten seconds when it was quadratic.
  for (let time = 0; time < 20; time++) expect(refusal(() => readPrivateKey(text))).toBe('the private key is not PEM')
  expect(performance.now() - startedAt).toBeLessThan(2000)
})
