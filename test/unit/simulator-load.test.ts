import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openFlow, personalisedOffer } from '../../src/simulator/journey.ts'
import { runLoad } from '../../src/simulator/load.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import { createMetaClient, type MetaClient } from '../../src/simulator/meta-client.ts'
import { judge } from '../../src/simulator/play.ts'
import type { Step } from '../../src/simulator/script.ts'
import { runSimulate, type SimulateOptions } from '../../src/simulator/simulate.ts'
import {
  appSecret,
  fallback,
  type Opened,
  plainText,
  publicKeyPem,
  reply,
  startEndpoint,
} from './simulator-endpoint.ts'

let endpoint: Awaited<ReturnType<typeof startEndpoint>>
let client: MetaClient

beforeAll(async () => {
  endpoint = await startEndpoint()
  client = createMetaClient({ endpointUri: endpoint.uri, publicKeyPem, appSecret, timeoutMs: 5_000 })
})
beforeEach(() => {
  endpoint.received.length = 0
})
afterAll(() => {
  client.close()
  endpoint.close()
})

describe('load', () => {
  const next = () => ({
    message: writeMessage(openFlow, `token-${Math.random()}`),
    judge: judge.bind(undefined, openFlow),
  })

  test('sends what was planned and sorts the answers', async () => {
    const behaviours = [
      reply({ screen: 'A' }),
      reply(fallback),
      reply({ data: {} }),
      (_: Opened, response: ServerResponse) => response.writeHead(432).end(),
      (_: Opened, response: ServerResponse) => response.destroy(),
    ]
    let turn = 0
    endpoint.answer = (opened, response) => behaviours[turn++ % behaviours.length]?.(opened, response)
    const summary = await runLoad({ client, rate: 500, seconds: 0.2, next })
    expect(summary).toMatchObject({ planned: 100, sent: 100, right: 20, fallback: 20, wrong: 40, lost: 20, notSent: 0 })
    expect([...summary.problems.values()]).toEqual([20, 20, 20, 20])
    expect(summary.latency.p50).toBeGreaterThan(0)
    expect(summary.latency.max).toBeGreaterThanOrEqual(summary.latency.p99)
    expect(new Set(endpoint.received.map(({ flow_token }) => flow_token)).size).toBe(100)
  })

  test('comes at random where it is asked to, as often on average', async () => {
    const sentAt: number[] = []
    const client: MetaClient = {
      exchange: async () => {
        sentAt.push(performance.now())
        return { status: 200, kind: 'fallback', answer: null, problem: null, milliseconds: 1 }
      },
      close: () => undefined,
    }
    const summary = await runLoad({ client, rate: 500, seconds: 1, arrivals: 'random', next })
    expect(summary.sent).toBe(500)
    expect(summary.seconds).toBeGreaterThan(0.7)
    const isClose = (at: number, index: number) => at - (sentAt[index - 1] ?? 0) < 1
    // Of gaps of 2 ms on average a third is shorter than 1; of even ones none is.
    expect(sentAt.filter(isClose).length).toBeGreaterThan(75)
  })

  test('does not wait for answers, and counts what its bound kept back', async () => {
    const hasty = createMetaClient({ endpointUri: endpoint.uri, publicKeyPem, appSecret, timeoutMs: 500 })
    endpoint.answer = () => {}
    const summary = await runLoad({ client: hasty, rate: 400, seconds: 0.05, next, maxInFlight: 5 })
    hasty.close()
    expect(summary.sent).toBeGreaterThanOrEqual(5)
    expect(summary.notSent).toBeGreaterThan(0)
    expect(summary.sent + summary.notSent).toBe(20)
    expect(summary.lost).toBe(summary.sent)
  })

  test('an aborted signal ends the sending and awaits the rest', async () => {
    const stop = new AbortController()
    endpoint.answer = (opened, response) => {
      stop.abort()
      reply({ screen: 'A' })(opened, response)
    }
    const summary = await runLoad({ client, rate: 20, seconds: 60, next, signal: stop.signal })
    expect(summary.sent).toBeLessThan(1200)
    expect(summary.right).toBe(summary.sent)
  })
})

describe('runSimulate', () => {
  const run = async (options: Partial<SimulateOptions> = {}) => {
    const lines: string[] = []
    const code = await runSimulate({
      endpointUri: endpoint.uri,
      publicKeyPem,
      appSecret,
      out: (line) => lines.push(line),
      ...options,
    })
    return { code, lines, text: lines.join('\n') }
  }

  test('by default: ping, then the journey to SUCCESS', async () => {
    const ids = [{ id: 'x' }, { id: 'y' }, { id: 'z' }]
    const data = { products: ids, preferred_brands: ids, phone_uses: ids, phone_sim: ids, preferred_budget: ids }
    const rest = { shortlisted_devices: ids, selected_product: 'p', selected_device: 'd', name: 'n', email: 'e' }
    const screens = personalisedOffer.map(({ expectation }) => expectation?.screen)
    endpoint.answer = ({ message, seal }, response) => {
      const screen = screens[message.action === 'INIT' ? 0 : screens.indexOf(String(message.screen)) + 1]
      const completion = { extension_message_response: { params: { flow_token: message.flow_token } } }
      const screenData = screen === 'SUCCESS' ? completion : { ...data, ...rest }
      const object = message.action === 'ping' ? { data: { status: 'active' } } : { screen, data: screenData }
      response.writeHead(200, plainText).end(seal(JSON.stringify(object)))
    }
    const { code, lines, text } = await run()
    expect(text).toContain('7 of 7 steps as they should be')
    expect(code).toBe(0)
    expect(lines.at(-2)).toMatch(/^confirm .*SUCCESS/)
    expect(endpoint.received[2]?.data).toEqual({ product_selection: 'x' })
    expect(new Set(endpoint.received.slice(1).map(({ flow_token }) => flow_token)).size).toBe(1)
  })

  test('a wrong app secret: each step says what to change, exit code 1', async () => {
    const { code, text } = await run({ appSecret: 'another' })
    expect(code).toBe(1)
    expect(text).toContain("status 432 (signature refused: is it this endpoint's app secret?)")
    expect(text).toContain('0 of 7 steps')
  })

  test('load: fallbacks fail it unless they are allowed', async () => {
    endpoint.answer = reply({ screen: 'A' })
    expect((await run({ rate: 100, seconds: 0.1 })).code).toBe(0)
    endpoint.answer = reply(fallback)
    const failed = await run({ rate: 100, seconds: 0.1 })
    expect(failed.code).toBe(1)
    expect(failed.text).toContain('10 × the fallback instead of a screen')
    expect((await run({ rate: 100, seconds: 0.1, allowFallback: true })).code).toBe(0)
  })

  test('load takes the steps of a script in turn, with their expectations', async () => {
    endpoint.answer = reply({ screen: 'A', data: {} })
    const steps: Step[] = [
      openFlow,
      { name: 'next', action: 'data_exchange', screen: 'A', expectation: { screen: 'B' } },
    ]
    const { code, text } = await run({ rate: 100, seconds: 0.1, scriptText: JSON.stringify(steps) })
    expect(code).toBe(1)
    expect(text).toContain('5 × screen A instead of B')
  })

  test('Ctrl-C ends a load early, with its summary', async () => {
    endpoint.answer = (opened, response) => {
      process.emit('SIGINT')
      reply({ screen: 'A' })(opened, response)
    }
    const { code, text } = await run({ rate: 10, seconds: 60 })
    expect(code).toBe(130)
    expect(text).toContain('latency ms')
    expect(process.listenerCount('SIGINT')).toBe(0)
  })

  test.each<[string, Partial<SimulateOptions>]>([
    ['endpointUri: is not an http: or https: address', { endpointUri: 'localhost:8080' }],
    ['--public-key: is not a public key in PEM form', { publicKeyPem: '' }],
    ['--app-secret is empty', { appSecret: '' }],
    ['--script: [0].action is missing', { scriptText: '[{"name":"a"}]' }],
    ['--rate must be a number above 0', { rate: 0 }],
    ['--rate must be a number above 0', { rate: Number.NaN }],
    ['--seconds must be a number above 0', { rate: 1, seconds: -1 }],
    ['--seconds needs --rate', { seconds: 5 }],
    ['--script: step "choose a product" refers to', { rate: 1, scriptText: JSON.stringify(personalisedOffer) }],
  ])('one line says: %s', async (message, options) => {
    const { code, lines } = await run(options)
    expect(code).toBe(2)
    expect(lines).toEqual([expect.stringContaining(message)])
  })
})
