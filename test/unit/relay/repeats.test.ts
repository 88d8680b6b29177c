import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
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
    await keep('b')
    nowMs += tenMinutesMs
    await keep('c')
    expect(repeats.size).toBe(1)
  })

  it('weighs at most 32 MiB: the oldest go first', async () => {
    const eightMi = 'x'.repeat(8 * 1024 * 1024 - 1000)
    for (const name of ['a', 'b', 'c', 'd']) await keep(name, eightMi)
    expect(['a', 'b', 'c', 'd'].map(isKept)).toEqual([true, true, true, true])
    await keep('e', eightMi)
    expect(['a', 'b', 'c', 'd', 'e'].map(isKept)).toEqual([false, true, true, true, true])
  })

  it('is as before after an answer that alone was too heavy, and is not kept', async () => {
    await keep('small')
    await keep('heavy', 'x'.repeat(33 * 1024 * 1024))
    expect([isKept('small'), isKept('heavy'), repeats.size]).toEqual([true, false, 1])
    const elevenMi = 'x'.repeat(11 * 1024 * 1024)
    for (const name of ['a', 'b', 'c']) await keep(name, elevenMi)
    expect(['small', 'a', 'b', 'c'].map(isKept)).toEqual([false, false, true, true])
  })

  it('counts anew after what was let go', async () => {
    const fifteenMi = 'x'.repeat(15 * 1024 * 1024)
    for (const name of ['a', 'b', 'c', 'd']) await keep(name, fifteenMi)
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

  it('is some 50,000 answers of the usual length, the newest', async () => {
    const body = 'x'.repeat(400)
    const names = Array.from({ length: 80_000 }, (_, n) => String(n))
    for (const [n, name] of names.entries()) {
      repeats.keep(name, Promise.resolve(answerOf(body)), exchangeOf(`token ${name}`))
      if (n % 100 === 99) await settled()
    }
    expect(repeats.size).toBeGreaterThan(50_000)
    const kept = names.filter(isKept)
    expect(kept).toEqual(names.slice(-repeats.size))
  })

  it('is the newer of two under one name', async () => {
    await keep('a', 'older')
    await keep('a', 'newer')
    expect(await repeats.find('a')?.answer).toEqual(answerOf('newer'))
  })

  it('is what a model keeps, whatever comes again, fails and expires', async () => {
    const names = ['a', 'b', 'c', 'd', 'e']
    const name = fc.constantFrom(...names)
    const step = fc.oneof(
      fc.record({ does: fc.constant('keep' as const), name, body: fc.base64String({ maxLength: 400_000 }) }),
      fc.record({ does: fc.constant('fail' as const), name }),
      fc.record({ does: fc.constant('pass' as const), ms: fc.nat({ max: tenMinutesMs }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        repeats = new Repeats(() => nowMs)
        const model = new Map<string, { readonly body: string; readonly until: number }>()
        for (const it of steps) {
          if (it.does === 'pass') nowMs += it.ms
          else if (it.does === 'fail') {
            repeats.keep(it.name, Promise.reject(new Error('made up')), noAction)
            await settled()
          } else {
            await keep(it.name, it.body)
            model.set(it.name, { body: it.body, until: nowMs + tenMinutesMs })
          }
          for (const name of names) {
            const kept = model.get(name)
            const body = kept !== undefined && kept.until > nowMs ? kept.body : undefined
            expect((await repeats.find(name)?.answer)?.body).toBe(body)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  it('is not an answer whose place another took before it came', async () => {
    const { promise, resolve } = Promise.withResolvers<MetaAnswer>()
    repeats.keep('a', promise, noAction)
    await keep('a', 'newer')
    resolve(answerOf('older'))
    await settled()
    expect(await repeats.find('a')?.answer).toEqual(answerOf('newer'))
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

  it('is no digest that a caller could know beforehand, to choose where it is kept', () => {
    const request = {
      encryptedAesKey: Buffer.alloc(3),
      initialVector: Buffer.alloc(2),
      encryptedFlowData: Buffer.alloc(1),
    }
    const known = sha256(Buffer.concat([Buffer.from('1 3 2 '), Buffer.alloc(6)])).toString('base64')
    expect(Repeats.nameOf('1', request)).toHaveLength(known.length)
    expect(Repeats.nameOf('1', request)).not.toBe(known)
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
