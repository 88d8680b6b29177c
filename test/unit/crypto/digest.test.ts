import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes, randomToken, sha256 } from '../../../src/crypto/digest.ts'

describe('sha256', () => {
  it('fits FIPS 180-4 for "abc", as text and as bytes', () => {
    const expected = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    expect(sha256('abc').toString('hex')).toBe(expected)
    expect(sha256(Buffer.from('abc')).toString('hex')).toBe(expected)
  })
})

describe('equalBytes', () => {
  it('says what comparing byte by byte says, for any lengths', () => {
    const short = fc.uint8Array({ maxLength: 3, max: 2 })
    fc.assert(
      fc.property(short, short, (a, b) => {
        expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0)
        expect(equalBytes(a, Uint8Array.from(a))).toBe(true)
      }),
    )
  })
})

describe('randomToken', () => {
  it.each([
    [1, 2],
    [16, 22],
    [24, 33],
    [32, 43],
  ])('of %i bytes has %i characters of base62', (bytes, length) => {
    expect(randomToken(bytes)).toMatch(new RegExp(`^[0-9A-Za-z]{${length}}$`))
  })

  it('favours no character: bytes modulo 62 alone would draw 0 to 7 a quarter more often', () => {
    const characters = Array.from({ length: 2000 }, () => randomToken(32)).join('')
    const firstEight = characters.replace(/[^0-7]/g, '').length / characters.length
    expect(Math.abs(firstEight - 8 / 62)).toBeLessThan(0.01) // 9 standard deviations; the bias would be 0.027
  })

  it('uses the whole alphabet and does not repeat itself', () => {
    const tokens = Array.from({ length: 200 }, () => randomToken(32))
    expect(new Set(tokens).size).toBe(200)
    expect(new Set(tokens.join('')).size).toBe(62)
  })
})
