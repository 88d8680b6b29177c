import fc from 'fast-check'
import { expect, it } from 'vitest'
import { classifyAction } from '../../../src/domain/exchange.ts'
import { AnswerPages, type KeptAnswer } from '../../../src/relay/answer-pages.ts'

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.constant('\ud800'))
/** As many share their first eight characters, which say where a name is looked for, as do not. */
const name = fc.oneof(
  fc.integer({ min: 0, max: 30 }).map((n) => `the same ${n}`),
  fc.integer({ min: 0, max: 30 }).map(String),
)
const answer: fc.Arbitrary<KeptAnswer> = fc.record({
  status: fc.constantFrom(200, 427),
  body: fc.base64String({ maxLength: 300 }),
  facts: fc
    .record({ action: fc.constantFrom('INIT', 'ping', 'other'), screen: text, flow_token: text, version: text })
    .map((body) => classifyAction(body)),
})

it('finds of each name what was added last, to the letter', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, answer), { maxLength: 100 }), (added) => {
      const pages = new AnswerPages()
      for (const [ofName, kept] of added) pages.add(ofName, kept, 1000, 0)
      const last = new Map(added)
      for (const [ofName, kept] of last) {
        // What is not there and what is undefined is one here.
        expect(pages.find(ofName, 999)).toEqual(kept)
        expect(pages.find(ofName, 1000)).toBeNull()
        expect(pages.find(`${ofName} `, 0)).toBeNull()
      }
      expect(pages.size).toBe(added.length)
    }),
  )
})

it('keeps the newest of what comes, in pages that are used again', () => {
  const pages = new AnswerPages()
  const facts = classifyAction({ action: 'ping' })
  const total = 300_000
  for (let n = 0; n < total; n++)
    pages.add(`${n}`, { status: 200, body: `${n}${'x'.repeat(n % 700)}`, facts }, n + 1e6, n)
  const { size } = pages
  expect(size).toBeGreaterThan(50_000)
  for (let n = 0; n < total; n += 7) {
    const found = pages.find(`${n}`, total)
    expect(found?.body, `${n}`).toBe(n < total - size ? undefined : `${n}${'x'.repeat(n % 700)}`)
  }
})

it('lets go of what has expired, a page after the other', () => {
  const pages = new AnswerPages()
  const kept = { status: 200, body: 'x'.repeat(1000), facts: classifyAction({ action: 'ping' }) }
  for (let n = 0; n < 20_000; n++) pages.add(`${n}`, kept, n + 1000, n)
  expect(pages.size).toBeGreaterThanOrEqual(1000)
  // Those of a page go with its last.
  expect(pages.size).toBeLessThan(1500)
  expect([pages.find('18999', 19_999), pages.find('19000', 19_999)]).toEqual([null, kept])
})
