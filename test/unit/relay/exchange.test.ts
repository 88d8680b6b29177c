import { generateKeyPairSync } from 'node:crypto'
import { expect, it } from 'vitest'
import { Exchange, type ExchangeParts, type MetaCall } from '../../../src/relay/exchange.ts'
import { ExchangeLine } from '../../../src/relay/exchange-line.ts'
import { sealRequest } from '../../../src/simulator/seal.ts'
import { collectGarbage } from '../../support/garbage.ts'

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const nothing = () => undefined

/** An exchange whose webhook answers when it is told to. */
function hangingExchange() {
  const answer = Promise.withResolvers<{ outcome: 'replied'; text: string }>()
  const closed: { outcome: string; timings: { verify: number | null; total: number } }[] = []
  const recording = { onDisk: () => Promise.resolve() }
  const line = new ExchangeLine()
  const account = { workspaceId: 'ws_1', wabaId: '1', flowKeys: () => ({ ids: ['fk_1'], keys: [privateKey] }) }
  const parts = {
    directory: { waba: () => account, loaded: true },
    line,
    forward: { ask: () => answer.promise },
    recorder: {
      opened: () => recording,
      closed: (row: (typeof closed)[number]) => {
        closed.push(row)
        return recording
      },
    },
    metrics: { exchangeEnded: nothing, answerWaited: nothing, flowKeyUsed: nothing },
    log: { warn: nothing, info: nothing, debug: nothing, error: nothing },
    platformAppSecrets: [],
    signatureRequired: false,
  }
  return { exchange: new Exchange(parts as unknown as ExchangeParts), line, answer, closed }
}

const sealed = sealRequest(JSON.stringify({ action: 'INIT', flow_token: 't' }), publicKey, 'app-secret').body

/** `startedAt`: when its head came. */
function callOf(body: Buffer, startedAt = performance.now()): MetaCall {
  return { wabaId: '1', metaFlowId: null, body, signature: undefined, startedAt, completeAt: performance.now() }
}

it('repetitions that wait for the first answer hold nothing of their calls, and no place among those under way', async () => {
  const { exchange, line, answer } = hangingExchange()
  const first = exchange.answer(callOf(Buffer.from(sealed)))
  const bodies: WeakRef<Buffer>[] = []
  const repeat = () => {
    const body = Buffer.from(`${sealed.slice(0, -1)},"more":"${'x'.repeat(100_000)}"}`)
    bodies.push(new WeakRef(body))
    return exchange.answer(callOf(body))
  }
  const repeats = Array.from({ length: 20 }, repeat)
  await new Promise((resolve) => setTimeout(resolve, 0))
  while (line.waiting > 0) await new Promise(setImmediate)
  await new Promise(setImmediate)
  expect(line.underWay).toBe(1)
  collectGarbage()
  expect(bodies.filter((body) => body.deref() !== undefined)).toHaveLength(0)
  answer.resolve({ outcome: 'replied', text: '{"screen":"A","data":{}}' })
  const { body } = await first
  expect(await Promise.all(repeats)).toEqual(repeats.map(() => ({ status: 200, body })))
})

it('the time that a body took to come is nobody’s step', async () => {
  const { exchange, answer, closed } = hangingExchange()
  answer.resolve({ outcome: 'replied', text: '{"screen":"A","data":{}}' })
  await exchange.answer(callOf(Buffer.from(sealed), performance.now() - 60_000))
  const [row] = closed
  expect(row?.timings.verify).toBeLessThan(30_000)
  expect(row?.timings.total).toBeGreaterThan(60_000)
})
