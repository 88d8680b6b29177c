import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  countValues,
  decodeUtf8,
  hasTooManyValues,
  isObject,
  isTooDeep,
  maxJsonDepth,
  parseJson,
  parseJsonObject,
} from '../../../src/domain/json.ts'

/** The plain model: containers around containers. */
function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

/** `value` inside `layers` arrays and objects, in turn as `pattern` says. */
function nest(value: unknown, layers: number, pattern: readonly boolean[]): unknown {
  let nested = value
  for (let layer = 0; layer < layers; layer++) {
    nested = pattern[layer % pattern.length] ? [nested] : { ']}"\\[{': nested }
  }
  return nested
}

describe('isTooDeep', () => {
  const arrays = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
  const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

  it.each([
    ['arrays', arrays],
    ['objects', objects],
  ])('draws the line between 200 and 201 %s', (_name, nested) => {
    expect(maxJsonDepth).toBe(200)
    expect(isTooDeep(nested(200))).toBe(false)
    expect(isTooDeep(nested(201))).toBe(true)
    expect(isTooDeep(nested(10_000))).toBe(true)
  })

  it('agrees with a recursive model, for any value at any depth, compact or indented', () => {
    const layers = fc.oneof(fc.nat(10), fc.integer({ min: 190, max: 210 }))
    const pattern = fc.array(fc.boolean(), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), layers, pattern, fc.nat(2), (value, count, turns, indent) => {
        const nested = nest(value, count, turns)
        expect(isTooDeep(JSON.stringify(nested, null, indent))).toBe(depthOf(nested) > 200)
      }),
    )
  })

  it('counts what is nested, not how much there is', () => {
    expect(isTooDeep(`[${'[],{},'.repeat(1000)}1]`)).toBe(false)
  })

  it('leaves brackets in strings alone, also after escaped quotes and backslashes', () => {
    const brackets = '[{'.repeat(300)
    const texts = [brackets, `"${brackets}`, `\\"${brackets}`, `\\${brackets}\\`, `${brackets}\\\\"${brackets}`]
    for (const text of texts) {
      expect(isTooDeep(JSON.stringify(text))).toBe(false)
      expect(isTooDeep(JSON.stringify({ [text]: text }))).toBe(false)
    }
  })

  it('sees brackets after such strings', () => {
    expect(isTooDeep(`["\\\\", "\\"", ${arrays(200)}]`)).toBe(true)
    expect(isTooDeep(`["\\\\", "\\"", ${arrays(199)}]`)).toBe(false)
  })

  it('never throws, for any text', () => {
    const noise = fc.string({ unit: fc.constantFrom('[', ']', '{', '}', '"', '\\', 'a', ' '), maxLength: 2000 })
    fc.assert(fc.property(noise, (text) => typeof isTooDeep(text) === 'boolean'))
  })
})

describe('reading', () => {
  it('tells objects from everything else', () => {
    expect([{}, { a: 1 }, Object.create(null)].every(isObject)).toBe(true)
    expect([null, undefined, [], 'a', 1, true].some(isObject)).toBe(false)
  })

  it('gives undefined for what is not JSON, and the value for what is', () => {
    expect(['', '{', 'nul', "{'a':1}", '\ufeff{}'].map(parseJson)).toEqual(Array(5).fill(undefined))
    fc.assert(
      fc.property(fc.json(), (json) => {
        expect(parseJson(json)).toEqual(JSON.parse(json))
      }),
    )
  })

  it('gives null for JSON that is not an object', () => {
    expect(['[]', 'null', '1', '"a"', '', '{'].map(parseJsonObject)).toEqual(Array(6).fill(null))
    expect(parseJsonObject(' {"a":[1]}\n')).toEqual({ a: [1] })
  })

  it('decodes UTF-8, keeps a byte order mark, and gives null for other bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(decodeUtf8(Buffer.from(text))).toBe(text.toWellFormed())
      }),
    )
    expect(decodeUtf8(Buffer.from('\ufeffa'))).toBe('\ufeffa')
    for (const hex of ['ff', 'c3', 'c080', 'eda080', 'f5808080']) expect(decodeUtf8(Buffer.from(hex, 'hex'))).toBeNull()
  })
})

test.each([
  ['text', 0],
  [{}, 0],
  [[0, null, 'a'], 3],
  [{ a: { b: { c: [1, {}] } }, d: '' }, 6],
])('countValues of %j: %i', (value, count) => {
  expect(countValues(value)).toBe(count)
})

describe('hasTooManyValues', () => {
  const most = 1000
  const isTooMuch = (json: string) => hasTooManyValues(json, most)
  const zeros = (count: number) => Array(count).fill(0).join(',')

  it('counts members, items, objects and arrays at any depth', () => {
    expect(isTooMuch(`[${zeros(most)}]`)).toBe(false)
    expect(isTooMuch(`[${zeros(most + 1)}]`)).toBe(true)
    const members = (count: number) => Array.from({ length: count }, (_, index) => `"${index}":0`).join(',')
    expect(isTooMuch(`{"a":[${zeros(most / 2)}],${members(most / 2 - 1)}}`)).toBe(false)
    expect(isTooMuch(`{"a":[${zeros(most / 2)}],"b":{${members(most / 2)}},"c":0}`)).toBe(true)
  })

  it('counts what has nothing within: each costs as much as any', () => {
    const deep = `${'['.repeat(100)}${']'.repeat(100)}`
    expect(isTooMuch(`[${Array(9).fill(deep).join()}]`)).toBe(false)
    expect(isTooMuch(`[${Array(10).fill(deep).join()}]`)).toBe(true)
    expect(isTooMuch(`[${Array(most).fill('{}').join()}]`)).toBe(true)
  })

  it('does not count what stands in strings', () => {
    const commas = ',[{'.repeat(most + 1)
    expect(isTooMuch(`["${commas}"]`)).toBe(false)
    expect(isTooMuch(`["\\"${commas}"]`)).toBe(false)
    expect(isTooMuch(`["\\\\",${zeros(most)}]`)).toBe(true)
    expect(isTooMuch(`["${commas}`)).toBe(false)
  })
})
