import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyDerivationCost } from '../../../src/crypto/key-derivation.ts'

const pbkdf2Oid = Buffer.from('06092a864886f70d01050c', 'hex')
const scryptOid = Buffer.from('06092b06010401da47040b', 'hex')

function element(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  const head = content.length < 128 ? [tag, content.length] : [tag, 0x82, content.length >> 8, content.length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}
const sequence = (...parts: Buffer[]) => element(0x30, ...parts)
const octets = (...parts: Buffer[]) => element(0x04, ...parts)
const integer = (value: number) => element(0x02, Buffer.from(value.toString(16).padStart(12, '0'), 'hex'))
const encryptedKey = (...algorithm: Buffer[]) => sequence(sequence(...algorithm), octets(Buffer.alloc(40)))

describe('keyDerivationCost', () => {
  it('is null for a key that is not encrypted', () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    expect(keyDerivationCost(privateKey.export({ type: 'pkcs8', format: 'der' }))).toBeNull()
    expect(keyDerivationCost(privateKey.export({ type: 'pkcs1', format: 'der' }))).toBeNull()
  })

  it('is the iterations of PBKDF2, with a key length beside them or without', () => {
    const parameters = (...integers: Buffer[]) => sequence(pbkdf2Oid, sequence(octets(Buffer.alloc(8)), ...integers))
    expect(keyDerivationCost(encryptedKey(parameters(integer(600_000))))).toBe(600_000)
    expect(keyDerivationCost(encryptedKey(parameters(integer(600_000), integer(32))))).toBe(600_000)
  })

  it('is N * r * p of scrypt, without the key length', () => {
    const parameters = [16_384, 8, 2, 32].map(integer)
    const algorithm = sequence(scryptOid, sequence(octets(Buffer.alloc(8)), ...parameters))
    expect(keyDerivationCost(encryptedKey(algorithm))).toBe(16_384 * 8 * 2)
  })

  it('is not made less by an identifier of scrypt in the salt and zeros about', () => {
    const salted = sequence(pbkdf2Oid, sequence(octets(scryptOid), integer(2 ** 31), integer(0)))
    expect(keyDerivationCost(encryptedKey(salted))).toBe(2 ** 31)
  })

  it.each([
    ['a number of 7 bytes', encryptedKey(element(0x02, Buffer.alloc(7, 1)))],
    ['an indefinite length', Buffer.concat([Buffer.of(0x30, 0x80), encryptedKey(integer(1)), Buffer.alloc(2)])],
    ['an indefinite length inside', encryptedKey(Buffer.of(0x30, 0x80, 0x02, 0x01, 0x01, 0, 0))],
    ['more than there is', encryptedKey(Buffer.of(0x30, 0x7f, 0x02, 0x01, 0x01))],
    ['nothing', Buffer.alloc(0)],
    ['deep nesting', encryptedKey(Array.from({ length: 20 }).reduce<Buffer>((inner) => sequence(inner), integer(1)))],
  ])('is Infinity for %s', (_, der) => {
    expect(keyDerivationCost(der)).toBe(Number.POSITIVE_INFINITY)
  })

  it('never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
        const cost = keyDerivationCost(encryptedKey(Buffer.from(noise)))
        expect(cost).not.toBeNaN()
        keyDerivationCost(Buffer.from(noise))
      }),
      { numRuns: 500 },
    )
  })
})
