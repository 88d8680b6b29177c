import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SecretPlace } from '../../../src/crypto/sealed-secret.ts'
import {
  MasterKeyInvalid,
  openSecret,
  readMasterKeys,
  Secret,
  sealedKeyVersion,
  sealSecret,
} from '../../../src/crypto/sealed-secret.ts'
import { mutate, mutation } from './mutation.ts'

const purposes = [
  'app_secret',
  'access_token',
  'flow_key',
  'webhook_secret',
  'webhook_headers',
  'verify_token',
  'idempotent_answer',
] as const
const newKey = () => randomBytes(32).toString('base64')
const [oldKey, freshKey] = [newKey(), newKey()]
const old = readMasterKeys(oldKey)
const rotated = readMasterKeys(freshKey, [oldKey])
const place: SecretPlace = { purpose: 'app_secret', workspaceId: 'ws_1', rowId: 'as_1' }
const anyPlace: fc.Arbitrary<SecretPlace> = fc.record({
  purpose: fc.constantFrom(...purposes),
  workspaceId: fc.string({ maxLength: 5 }),
  rowId: fc.string({ maxLength: 5 }),
})

describe('sealSecret and openSecret', () => {
  it('round trip any text or bytes at any place', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.uint8Array(), anyPlace, (text, bytes, where) => {
        expect(openSecret(sealSecret(text, where, old), where, old)?.toString('utf8')).toBe(text)
        expect(openSecret(sealSecret(bytes, where, old), where, old)).toEqual(Buffer.from(bytes))
      }),
    )
  })

  it('open at their own place only', () => {
    fc.assert(
      fc.property(anyPlace, anyPlace, (where, elsewhere) => {
        fc.pre(JSON.stringify(where) !== JSON.stringify(elsewhere))
        expect(openSecret(sealSecret('hidden', where, old), elsewhere, old)).toBeNull()
      }),
      { numRuns: 300 },
    )
  })

  it.each([
    ['another purpose', { purpose: 'verify_token' }],
    ['another workspace', { workspaceId: 'ws_2' }],
    ['another row', { rowId: 'as_2' }],
    ['the same letters, cut elsewhere', { workspaceId: 'ws_1a', rowId: 's_1' }],
  ] as const)('do not open at %s', (_, change) => {
    expect(openSecret(sealSecret('hidden', place, old), { ...place, ...change }, old)).toBeNull()
  })

  it('do not open after any change', () => {
    const sealed = sealSecret('hidden', place, old)
    fc.assert(
      fc.property(mutation, (change) => {
        expect(openSecret(mutate(sealed, change), place, old)).toBeNull()
      }),
      { numRuns: 500 },
    )
  })

  it('do not open after a flip of any single bit', () => {
    const sealed = sealSecret('hidden', place, old)
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const flipped = Buffer.from(sealed)
      flipped.writeUInt8((flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3)
      expect(openSecret(flipped, place, old)).toBeNull()
    }
  })

  it('never throw for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (noise) => {
        expect(openSecret(noise, place, rotated)).toBeNull()
        expect(openSecret(Buffer.concat([sealSecret('', place, old).subarray(0, 5), noise]), place, old)).toBeNull()
      }),
    )
  })

  it('hold the plain bytes in a view of a larger buffer, too', () => {
    const sealed = sealSecret('hidden', place, old)
    const larger = new Uint8Array(sealed.length + 20)
    larger.set(sealed, 10)
    expect(openSecret(larger.subarray(10, -10), place, old)?.toString()).toBe('hidden')
  })

  it('have the documented layout, and two seals of one secret differ', () => {
    const sealed = sealSecret('hidden', place, old)
    expect(sealed).toHaveLength(1 + 4 + 12 + 'hidden'.length + 16)
    expect(sealed[0]).toBe(1)
    expect(sealed.readUInt32BE(1)).toBe(old.current.version)
    expect(sealed.includes('hidden')).toBe(false)
    expect(sealSecret('hidden', place, old).equals(sealed)).toBe(false)
  })
})

describe('rotation of the master key', () => {
  it('opens under a previous key what it sealed, and seals under the current one', () => {
    const sealed = sealSecret('hidden', place, old)
    expect(openSecret(sealed, place, rotated)?.toString()).toBe('hidden')
    const resealed = sealSecret('hidden', place, rotated)
    expect(openSecret(resealed, place, old)).toBeNull()
    expect(sealedKeyVersion(sealed)).toBe(old.current.version)
    expect(sealedKeyVersion(resealed)).toBe(rotated.current.version)
  })

  it('opens ahead of time what the coming key sealed', () => {
    const prepared = readMasterKeys(oldKey, [freshKey])
    expect(openSecret(sealSecret('hidden', place, rotated), place, prepared)?.toString()).toBe('hidden')
  })

  it('gives each key a version of 32 bits that is the same everywhere', () => {
    const zeros = readMasterKeys(Buffer.alloc(32).toString('base64')).current
    expect(zeros.version).toBe(0x66687aad) // SHA-256 of 32 zero bytes: 66687aadf862bd77…
    expect(sealedKeyVersion(Buffer.alloc(0))).toBeNull()
    expect(sealedKeyVersion(Buffer.alloc(40))).toBeNull()
  })
})

it('binds the version even where two keys have the same bytes', () => {
  const bytes = randomBytes(32)
  const twins = { current: { version: 1, bytes }, previous: [{ version: 2, bytes }] }
  const sealed = sealSecret('hidden', place, twins)
  expect(openSecret(sealed, place, twins)?.toString()).toBe('hidden')
  sealed.writeUInt32BE(2, 1)
  expect(openSecret(sealed, place, twins)).toBeNull()
})

describe('readMasterKeys', () => {
  it.each([
    ['empty', ''],
    ['text', 'not a key at all'],
    ['31 bytes', randomBytes(31).toString('base64')],
    ['33 bytes', randomBytes(33).toString('base64')],
    ['hex', randomBytes(32).toString('hex')],
    ['the URL alphabet', Buffer.alloc(32, 0xff).toString('base64url')],
    ['no padding', newKey().slice(0, -1)],
  ])('refuses %s and does not repeat it', (_, wrong) => {
    expect(() => readMasterKeys(wrong)).toThrow(new MasterKeyInvalid('not base64 of 32 bytes: MASTER_KEY'))
  })

  it('names all that are wrong at once', () => {
    expect(() => readMasterKeys('x', [newKey(), 'y'])).toThrow(
      new MasterKeyInvalid('not base64 of 32 bytes: MASTER_KEY, entry 2 of MASTER_KEYS_PREVIOUS'),
    )
  })

  it('ignores space around, as in a list', () => {
    expect(readMasterKeys(` ${oldKey}\n`).current.version).toBe(old.current.version)
  })

  it('gives keys whose bytes do not print', () => {
    const { bytes } = rotated.current
    expect(bytes.toString('base64')).toBe(freshKey)
    for (const printed of [inspect(rotated, { depth: 9, showHidden: true, getters: true }), JSON.stringify(rotated)]) {
      expect(printed).not.toContain(freshKey)
      expect(printed).not.toContain(bytes.toString('hex').slice(0, 8))
      expect(printed).not.toMatch(/Buffer|data/)
    }
  })
})

describe('Secret', () => {
  const secret = new Secret('do not print me')

  it('gives itself out when asked', () => {
    expect(secret.reveal()).toBe('do not print me')
  })

  it.each([
    ['text', `${secret}`],
    ['String', String(secret)],
    ['JSON', JSON.stringify({ secret, list: [secret] })],
    ['inspection', inspect({ secret }, { showHidden: true, depth: 9 })],
    ['structuredClone', JSON.stringify(structuredClone(secret))],
    ['its own members', JSON.stringify(Object.entries(secret))],
    ['an error message', new Error(String(secret)).message],
  ])('does not print in %s', (_, printed) => {
    expect(printed).not.toContain('print me')
  })

  it('prints as three stars', () => {
    expect([`${secret}`, JSON.stringify(secret), inspect(secret)]).toEqual(['***', '"***"', '***'])
  })
})
