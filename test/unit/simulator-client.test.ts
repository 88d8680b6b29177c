import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openFlow, ping } from '../../src/simulator/journey.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import { createMetaClient, type MetaClient } from '../../src/simulator/meta-client.ts'
import { judge, playScript } from '../../src/simulator/play.ts'
import type { Step } from '../../src/simulator/script.ts'
import {
  appSecret,
  type Behaviour,
  fallback,
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

const exchange = (step: Step = openFlow) => client.exchange(writeMessage(step, 'token'))

describe('one exchange', () => {
  test('a good answer is decrypted and has no problem', async () => {
    endpoint.answer = reply({ screen: 'A', data: { x: 1 } })
    const result = await exchange()
    expect(result).toMatchObject({
      kind: 'screen',
      status: 200,
      answer: { screen: 'A', data: { x: 1 } },
      problem: null,
    })
    expect(result.milliseconds).toBeGreaterThan(0)
    expect(endpoint.received).toEqual([{ data: {}, flow_token: 'token', screen: '', action: 'INIT', version: '3.0' }])
  })

  test.each<[string, unknown, string]>([
    ['no screen', { data: { x: 1 } }, 'no screen'],
    ['an empty screen', { screen: '' }, 'no screen'],
    ['a fallback with more in it', { data: { acknowledged: true, x: 1 } }, 'no screen'],
    ['data that is no object', { screen: 'A', data: [] }, 'data is not an object'],
    [
      'an error message that is no string',
      { screen: 'A', data: { error_message: 1 } },
      'error_message is not a string',
    ],
    ['SUCCESS without completion', { screen: 'SUCCESS', data: {} }, 'SUCCESS without'],
    ['completion without params', { screen: 'SUCCESS', data: { extension_message_response: {} } }, 'no params'],
    [
      'params without flow token',
      { screen: 'A', data: { extension_message_response: { params: {} } } },
      'no flow_token',
    ],
    ['an array', [], 'not a JSON object'],
    ['null', null, 'not a JSON object'],
  ])('a client refuses %s', async (_, object, problem) => {
    endpoint.answer = reply(object)
    expect(await exchange()).toMatchObject({ kind: 'wrong', status: 200, problem: expect.stringContaining(problem) })
  })

  test.each<[string, Behaviour, object]>([
    [
      'a quoted body',
      (o, r) => r.writeHead(200, plainText).end(JSON.stringify(o.seal('{"screen":"A"}'))),
      { kind: 'wrong', problem: 'the body is not bare base64' },
    ],
    [
      'a clear body',
      (_, r) => r.writeHead(200, plainText).end('{"screen":"A"}'),
      { kind: 'wrong', problem: 'the body is not bare base64' },
    ],
    [
      'JSON as type',
      (o, r) => r.writeHead(200, { 'Content-Type': 'application/json' }).end(o.seal('{"screen":"A"}')),
      { kind: 'wrong', problem: 'Content-Type is application/json, not text/plain' },
    ],
    [
      'a 201',
      (o, r) => r.writeHead(201, plainText).end(o.seal('{"screen":"A"}')),
      { kind: 'refused', status: 201, answer: null, problem: null },
    ],
    ['a 421', (_, r) => r.writeHead(421).end(), { kind: 'refused', status: 421, answer: null }],
    [
      'an encrypted 427',
      (o, r) => r.writeHead(427, plainText).end(o.seal('{"error_msg":"Expired"}')),
      { kind: 'token_refused', answer: { error_msg: 'Expired' }, problem: null },
    ],
    ['an empty 427', (_, r) => r.writeHead(427).end(), { kind: 'token_refused', answer: null, problem: null }],
    [
      'a 427 in clear',
      (_, r) => r.writeHead(427, plainText).end('{"error_msg":"Expired"}'),
      { kind: 'wrong', status: 427 },
    ],
    [
      'a 427 with another member',
      (o, r) => r.writeHead(427, plainText).end(o.seal('{"error_message":"x"}')),
      { kind: 'wrong', problem: 'the 427 answer has no error_msg' },
    ],
    ['the fallback', reply(fallback), { kind: 'fallback', problem: null }],
    ['a reset', (_, r) => r.destroy(), { kind: 'lost', status: null, problem: 'no answer: ECONNRESET' }],
    [
      'a cut body',
      (_, r) => {
        r.writeHead(200, { ...plainText, 'Content-Length': 99 }).write('AAAA', () => r.destroy())
      },
      { kind: 'lost', problem: expect.stringContaining('no answer') },
    ],
  ])('%s', async (_, behaviour, expected) => {
    endpoint.answer = behaviour
    expect(await exchange()).toMatchObject(expected)
  })

  test('pings and error notifications have answers of their own', async () => {
    const notice: Step = { name: 'e', action: 'error' }
    endpoint.answer = reply({ data: { status: 'active' } })
    expect(await exchange(ping)).toMatchObject({ kind: 'active', problem: null })
    expect(await exchange(notice)).toMatchObject({ kind: 'wrong' })
    endpoint.answer = reply(fallback)
    expect(await exchange(notice)).toMatchObject({ kind: 'acknowledged', problem: null })
    expect(await exchange(ping)).toMatchObject({ kind: 'wrong' })
  })

  test('silence, a dripping body and a closed port end in a named loss', async () => {
    const hasty = createMetaClient({ endpointUri: endpoint.uri, publicKeyPem, appSecret, timeoutMs: 80 })
    const message = writeMessage(openFlow, 'token')
    endpoint.answer = () => {}
    expect(await hasty.exchange(message)).toMatchObject({ kind: 'lost', problem: 'no answer within 80 ms' })
    endpoint.answer = (_, response) => {
      const drip = setInterval(() => response.write('A'), 10)
      response.on('close', () => clearInterval(drip)).writeHead(200, plainText)
    }
    expect(await hasty.exchange(message)).toMatchObject({ kind: 'lost', problem: 'no answer within 80 ms' })
    hasty.close()
    const nowhere = createMetaClient({ endpointUri: 'http://127.0.0.1:1/', publicKeyPem, appSecret })
    expect(await nowhere.exchange(message)).toMatchObject({ kind: 'lost', problem: 'no answer: ECONNREFUSED' })
    nowhere.close()
  })
})

describe('judge', () => {
  test.each<[NonNullable<Step['expectation']>, object, string | null]>([
    [{}, { screen: 'A' }, null],
    [{ screen: 'A' }, { screen: 'A' }, null],
    [{ screen: 'B' }, { screen: 'A' }, 'screen A instead of B'],
    [{}, fallback, 'the fallback instead of a screen'],
    [{ acknowledged: true }, fallback, null],
    [{ acknowledged: true }, { screen: 'A' }, 'not acknowledged'],
    [{ acknowledged: false }, fallback, 'acknowledged, which it should not be'],
    [{ errorMessage: 'No' }, { screen: 'A', data: { error_message: 'No' } }, null],
    [{ errorMessage: 'No' }, { screen: 'A', data: { error_message: 'Yes' } }, 'another error message than expected'],
    [{ errorMessage: 'No' }, { screen: 'A' }, 'no error message'],
    [{ status: 427 }, { screen: 'A' }, 'status 200 instead of 427'],
  ])('%j of %j: %s', async (expectation, object, problem) => {
    endpoint.answer = reply(object)
    expect(judge({ expectation }, await exchange())).toBe(problem)
  })

  test('a 427 with its text', async () => {
    endpoint.answer = (opened, response) =>
      response.writeHead(427, plainText).end(opened.seal('{"error_msg":"Expired"}'))
    expect(judge({ expectation: { status: 427, errorMessage: 'Expired' } }, await exchange())).toBeNull()
    expect(judge({}, await exchange())).toBe('status 427 instead of 200')
  })
})

test('a script takes what earlier answers held; a missing one is not sent and does not stop the rest', async () => {
  endpoint.answer = ({ message, seal }, response) =>
    response
      .writeHead(200, plainText)
      .end(seal(JSON.stringify({ screen: 'A', data: { id: message.action === 'INIT' ? 7 : null } })))
  const steps: Step[] = [
    openFlow,
    { name: 'take', action: 'data_exchange', screen: 'A', data: { id: '{{open.data.id}}' } },
    { name: 'lacking', action: 'data_exchange', screen: 'A', data: { id: '{{take.data.other}}' } },
    { name: 'after', action: 'BACK', screen: 'A' },
  ]
  const played = await playScript(client, steps, { flowToken: 'token' })
  expect(played.map(({ problem }) => problem)).toEqual([null, null, 'not sent: no answer holds take.data.other', null])
  expect(endpoint.received.map(({ data }) => data)).toEqual([{}, { id: 7 }, {}])
})
