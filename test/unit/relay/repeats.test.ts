import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { SealedRequest } from '../../../src/crypto/flow-cipher.ts'
import { classifyAction } from '../../../src/domain/exchange.ts'
import { type MetaAnswer, Repeats } from '../../../src/relay/repeats.ts'

/** Weighs nothing. */
const noAction = { kind: 'unknown_action', action: null, screen: null, flowToken: null } as const
/** An exchange of this flow token, and all else that a phone may write at length. */
const exchangeOf = (flowToken: string, more: object = {}) =>
  classifyAction({ action: 'INIT', screen: 'A', flow_token: flowToken, version: '3.0', ...more })
const tenMinutesMs = 600_000
const answerOf = (body: string): MetaAnswer => ({ status: 200, body })

let nowMs: number
let repeats: Repeats
beforeEach(() => {
  nowMs = 1000
  repeats = new Repeats(() => nowMs)
})

/** Keeps an answer that is already there, and lets it arrive. */
async function keep(name: string, body = name): Promise<void> {
  repeats.keep(name, Promise.resolve(answerOf(body)), noAction)
  await settled()
}
/** The handlers of promises that are resolved by now have run. */
const settled = () => new Promise(setImmediate)
const isKept = (name: string) => repeats.find(name) !== null

describe('a repetition', () => {
  it('finds the first answer and its facts', async () => {
    repeats.keep('a', Promise.resolve(answerOf('a')), exchangeOf('a'))
    await settled()
    const found = repeats.find('a')
    expect(found?.facts).toMatchObject({
      kind: 'exchange',
      action: 'init',
      screen: 'A',
      flowToken: 'a',
      version: '3.0',
    })
    expect(await found?.answer).toEqual(answerOf('a'))
    expect(repeats.find('b')).toBeNull()
  })

  it('finds an answer that is still to come, and waits for it', async () => {
    const { promise, resolve } = Promise.withResolvers<MetaAnswer>()
    repeats.keep('a', promise, noAction)
    const waiting = repeats.find('a')?.answer
    resolve(answerOf('late'))
    expect(await waiting).toEqual(answerOf('late'))
  })

  it('finds nothing once ten minutes have passed', async () => {
    await keep('a')
    nowMs += tenMinutesMs - 1
    expect(isKept('a')).toBe(true)
    nowMs += 1
    expect(isKept('a')).toBe(false)
  })

  it('finds nothing where the answer failed', async () => {
    repeats.keep('a', Promise.reject(new Error('made up')), noAction)
    await settled()
    expect(isKept('a')).toBe(false)
    expect(repeats.size).toBe(0)
  })
})

describe('what is kept', () => {
  it('is what lives: the expired go when another answer comes', async () => {
    await keep('a')
    nowMs += tenMinutesMs / 2
    await keep('b')
    nowMs += tenMinutesMs / 2
    await keep('c')
    expect(repeats.size).toBe(2)
  })

  it('weighs at most 32 Mi characters: the oldest go first', async () => {
    const eightMi = 'x'.repeat(8 * 1024 * 1024)
    for (const name of ['a', 'b', 'c', 'd']) await keep(name, eightMi)
    expect(['a', 'b', 'c', 'd'].map(isKept)).toEqual([true, true, true, true])
    await keep('e', 'x')
    expect(['a', 'b', 'c', 'd', 'e'].map(isKept)).toEqual([false, true, true, true, true])
  })

  it('is bounded as before after an answer that alone was too heavy, and left nothing', async () => {
    await keep('heavy', 'x'.repeat(33 * 1024 * 1024))
    expect([isKept('heavy'), repeats.size]).toEqual([false, 0])
    const elevenMi = 'x'.repeat(11 * 1024 * 1024)
    for (const name of ['a', 'b', 'c']) await keep(name, elevenMi)
    expect(['a', 'b', 'c'].map(isKept)).toEqual([false, true, true])
  })

  it('counts anew after what was let go', async () => {
    const sixteenMi = 'x'.repeat(16 * 1024 * 1024)
    for (const name of ['a', 'b', 'c', 'd']) await keep(name, sixteenMi)
    expect(['a', 'b', 'c', 'd'].map(isKept)).toEqual([false, false, true, true])
  })

  it('has nothing of what a person sent', async () => {
    const [data, error] = [{ form: 'x'.repeat(1000) }, { error: 'x'.repeat(1000) }]
    repeats.keep('a', Promise.resolve(answerOf('')), exchangeOf('t', { data, flow_token_signature: 'x'.repeat(1000) }))
    repeats.keep('b', Promise.resolve(answerOf('')), exchangeOf('t', { data: error }))
    expect(['a', 'b'].map((name) => JSON.stringify(repeats.find(name)?.facts).includes('x'.repeat(1000)))).toEqual([
      false,
      false,
    ])
  })

  it('weighs the texts of a call, too: a flow token of a megabyte is as heavy as an answer', async () => {
    const elevenMi = 'x'.repeat(11 * 1024 * 1024)
    repeats.keep('token', Promise.resolve(answerOf('')), exchangeOf(elevenMi))
    repeats.keep('screen', Promise.resolve(answerOf('')), exchangeOf('t', { screen: elevenMi }))
    repeats.keep('version', Promise.resolve(answerOf('')), exchangeOf('t', { version: elevenMi }))
    await settled()
    expect(['token', 'screen', 'version'].map(isKept)).toEqual([false, true, true])
  })

  it('is at most 50,000 answers', async () => {
    for (let n = 0; n < 50_010; n++) repeats.keep(String(n), Promise.resolve(answerOf('')), noAction)
    await settled()
    expect(repeats.size).toBe(50_000)
    expect([isKept('9'), isKept('10')]).toEqual([false, true])
  })

  it('is the newer of two under one name, weighed once', async () => {
    const thirtyMi = 'x'.repeat(30 * 1024 * 1024)
    await keep('other', '')
    await keep('a', thirtyMi)
    await keep('a', thirtyMi)
    expect([isKept('other'), isKept('a'), repeats.size]).toEqual([true, true, 2])
  })

  it('is what a model keeps, whatever comes again, fails and expires', async () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e')
    const step = fc.oneof(
      fc.record({ does: fc.constant('keep' as const), name }),
      fc.record({ does: fc.constant('fail' as const), name }),
      fc.record({ does: fc.constant('pass' as const), ms: fc.nat({ max: tenMinutesMs }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        repeats = new Repeats(() => nowMs)
        let model: { readonly name: string; readonly until: number }[] = []
        for (const it of steps) {
          if (it.does === 'pass') nowMs += it.ms
          else {
            model = model.filter(({ name }) => name !== it.name)
            if (it.does === 'keep') {
              await keep(it.name)
              model.push({ name: it.name, until: nowMs + tenMinutesMs })
              model = model.filter(({ until }) => until > nowMs)
            } else {
              repeats.keep(it.name, Promise.reject(new Error('made up')), noAction)
              await settled()
            }
          }
          const alive = model.filter(({ until }) => until > nowMs).map(({ name }) => name)
          expect(['a', 'b', 'c', 'd', 'e'].filter(isKept)).toEqual(alive.toSorted())
          expect(repeats.size).toBe(model.length)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('is not made heavier by an answer whose place another took before it came', async () => {
    const { promise, resolve } = Promise.withResolvers<MetaAnswer>()
    repeats.keep('a', promise, noAction)
    await keep('a', 'short')
    resolve(answerOf('x'.repeat(30 * 1024 * 1024)))
    await keep('b', 'x'.repeat(8 * 1024 * 1024))
    expect([isKept('a'), isKept('b')]).toEqual([true, true])
  })
})

describe('the name of a call', () => {
  const part = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
  const sealed: fc.Arbitrary<SealedRequest> = fc.record({
    encryptedFlowData: part,
    encryptedAesKey: part,
    initialVector: part,
  })
  const copy = (request: SealedRequest): SealedRequest => ({
    encryptedFlowData: Buffer.from(request.encryptedFlowData),
    encryptedAesKey: Buffer.from(request.encryptedAesKey),
    initialVector: Buffer.from(request.initialVector),
  })
  const textOf = (request: SealedRequest) =>
    JSON.stringify(
      [request.encryptedAesKey, request.initialVector, request.encryptedFlowData].map((b) => b.toString('hex')),
    )

  it('is the same for the same three strings and WABA, and differs where any of the four does', () => {
    const wabaId = fc.constantFrom('1', '12', '1 2')
    fc.assert(
      fc.property(sealed, sealed, wabaId, wabaId, (one, other, wabaOfOne, wabaOfOther) => {
        const name = Repeats.nameOf(wabaOfOne, one)
        expect(Repeats.nameOf(wabaOfOne, copy(one))).toBe(name)
        const isSame = wabaOfOne === wabaOfOther && textOf(one) === textOf(other)
        expect(Repeats.nameOf(wabaOfOther, other) === name).toBe(isSame)
      }),
    )
  })

  it('is another for another WABA', () => {
    fc.assert(
      fc.property(sealed, (request) => {
        expect(Repeats.nameOf('1', request)).not.toBe(Repeats.nameOf('2', copy(request)))
      }),
    )
  })

  it('tells apart what only its borders tell apart', () => {
    const bytes = Buffer.from('0123456789')
    const cuts = [0, 1, 2, 3, 4, 5].flatMap((a) => [5, 6, 7, 8].map((b) => [a, b] as const))
    const names = cuts.map(([a, b]) =>
      Repeats.nameOf('1', {
        encryptedAesKey: bytes.subarray(0, a),
        initialVector: bytes.subarray(a, b),
        encryptedFlowData: bytes.subarray(b),
      }),
    )
    expect(new Set(names).size).toBe(cuts.length)
  })
})
