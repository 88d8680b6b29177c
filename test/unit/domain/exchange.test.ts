import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { exchangeEvent, subscribableEvents, umbrellaEvent } from '../../../src/domain/events.ts'
import { classifyAction } from '../../../src/domain/exchange.ts'
import type { JsonObject } from '../../../src/domain/json.ts'
import { flowVector } from '../crypto/vectors.ts'

const exchangeOf = (body: JsonObject) => {
  const request = classifyAction(body)
  if (request.kind !== 'exchange') throw new Error(`expected an exchange, found ${request.kind}`)
  return request
}

describe('what a phone sends (protocol.md 2.1)', () => {
  it('INIT, as in the public vector', () => {
    expect(classifyAction(JSON.parse(flowVector.expected.plaintext_utf8))).toEqual({
      kind: 'exchange',
      action: 'init',
      screen: null,
      flowToken: 'my_flow_token',
      version: '3.0',
      payload: {},
      tokenSignature: undefined,
    })
  })

  it('data_exchange, with everything given', () => {
    const data = { product: 'a', quantity: 2, nested: { list: [1, null] } }
    const body = { data, flow_token: 't', screen: 'SUMMARY', action: 'data_exchange', version: '4.0' }
    expect(classifyAction({ ...body, flow_token_signature: 'x.y.z' })).toEqual({
      kind: 'exchange',
      action: 'data_exchange',
      screen: 'SUMMARY',
      flowToken: 't',
      version: '4.0',
      payload: data,
      tokenSignature: 'x.y.z',
    })
  })

  it('BACK, with the screen the person was on', () => {
    const request = exchangeOf({ data: {}, flow_token: 't', screen: 'MULTIPLE', action: 'BACK', version: '3.0' })
    expect(request).toMatchObject({ action: 'back', screen: 'MULTIPLE', payload: {} })
  })

  it('ping, whatever comes with it', () => {
    const ping = { kind: 'ping', action: 'ping', screen: null, flowToken: null }
    expect(classifyAction({ version: '3.0', action: 'ping' })).toEqual(ping)
    expect(classifyAction({ action: 'ping', screen: 'A', flow_token: 't', data: { error: 'x' } })).toEqual(ping)
  })
})

describe('what may be missing or odd (protocol.md 2.2)', () => {
  it.each([
    ['absent', undefined],
    ['null', null],
    ['empty', ''],
    ['a number', 7],
    ['an object', { a: 1 }],
    ['true', true],
  ])('screen, flow token and version that are %s count as missing', (_name, value) => {
    const { screen, flowToken } = exchangeOf({ action: 'INIT', screen: value, flow_token: value })
    expect({ screen, flowToken }).toEqual({ screen: null, flowToken: null })
    if (typeof value !== 'number') expect(exchangeOf({ action: 'INIT', version: value }).version).toBeNull()
  })

  it.each([
    ['absent', undefined],
    ['null', null],
    ['a string', 'x'],
    ['an array', [1]],
    ['false', false],
  ])('data that is %s is an empty payload', (_name, data) => {
    expect(exchangeOf({ action: 'data_exchange', screen: 'A', data }).payload).toEqual({})
  })

  it('a version may be a number', () => {
    expect(exchangeOf({ action: 'INIT', version: 300 }).version).toBe('300')
    expect(exchangeOf({ action: 'INIT', version: '300' }).version).toBe('300')
  })

  it.each([
    undefined,
    null,
    '',
    7,
    'init',
    'Init',
    'DATA_EXCHANGE',
    'back',
    'PING',
    'navigate',
    'toString',
    '__proto__',
  ])('action %j is unknown, and its screen is kept for the answer', (action) => {
    expect(classifyAction({ action, screen: 'HERE', flow_token: 't' })).toEqual({
      kind: 'unknown_action',
      action: typeof action === 'string' ? action : null,
      screen: 'HERE',
      flowToken: 't',
    })
  })

  it('a member named __proto__ is a member like any other', () => {
    const request = exchangeOf(
      JSON.parse('{"action":"INIT","__proto__":{"screen":"A"},"data":{"__proto__":{"error":""}}}'),
    )
    expect(request).toMatchObject({ action: 'init', screen: null })
    expect(Object.keys(request.payload)).toEqual(['__proto__'])
  })
})

describe('error notifications (protocol.md 2.6)', () => {
  const kindOf = (data: unknown, action: unknown = 'data_exchange') =>
    classifyAction({ action, screen: 'A', data }).kind

  it.each([
    { error: 'invalid-screen-transition', error_message: 'x' },
    { error: 'response-decryption-error' },
    { error: '' },
    { error_key: 'payload-schema-error', error_message: '' },
    { error_key: '' },
    { error: 'a', error_key: 'b', error_message: 'c' },
  ])('%j is one', (data) => {
    expect(kindOf(data)).toBe('error_notification')
  })

  it.each([
    { error: 'none', name: 'x' },
    { error: null },
    { error: 1 },
    { error: { code: 1 } },
    { error: ['a'] },
    { error: 'a', error_message: 1 },
    { error_message: 'alone' },
    { Error: 'a' },
    {},
  ])('%j is a form', (data) => {
    expect(kindOf(data)).toBe('exchange')
  })

  it.each(['INIT', 'BACK', 'navigate', '', null, undefined])('action %j does not matter', (action) => {
    expect(kindOf({ error: '' }, action)).toBe('error_notification')
  })

  it('only inherited members make none', () => {
    expect(kindOf(JSON.parse('{"__proto__":{"error":"x"}}'))).toBe('exchange')
  })
})

describe('classifyAction', () => {
  const kinds = ['ping', 'error_notification', 'unknown_action', 'exchange']
  const anyMember = fc.constantFrom(
    'action',
    'screen',
    'data',
    'flow_token',
    'version',
    'flow_token_signature',
    'error',
  )
  const anyBody = fc.dictionary(fc.oneof(anyMember, fc.string()), fc.jsonValue())

  it('takes any JSON object, and gives null or a non-empty text where it promises one', () => {
    const filled = (value: string | null) => value === null || value.length > 0
    fc.assert(
      fc.property(anyBody, (body) => {
        const request = classifyAction(body)
        expect(kinds).toContain(request.kind)
        expect(filled(request.screen) && filled(request.flowToken)).toBe(true)
        if (request.kind === 'exchange') expect(Array.isArray(request.payload)).toBe(false)
      }),
    )
  })

  it('finds the actions among other members', () => {
    const action = fc.constantFrom('INIT', 'data_exchange', 'BACK')
    fc.assert(
      fc.property(anyBody, action, fc.dictionary(fc.string(), fc.jsonValue()), (body, name, data) => {
        const request = classifyAction({ ...body, action: name, data: { ...data, form_field: 1 } })
        expect(request).toMatchObject({ kind: 'exchange', action: name.toLowerCase() })
      }),
    )
  })
})

describe('the events of an exchange', () => {
  it('are those of contract.md §4, and can be subscribed to', () => {
    const events = (['init', 'data_exchange', 'back'] as const).map(exchangeEvent)
    expect(events).toEqual(['whatsapp.flows.init', 'whatsapp.flows.screen_advance', 'whatsapp.flows.back'])
    expect(subscribableEvents).toEqual(expect.arrayContaining([...events, umbrellaEvent]))
    expect(new Set(subscribableEvents).size).toBe(9)
  })
})
