import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { completeScreen, type Reply, readReply } from '../../../src/domain/reply.ts'

const read = (text: string, status = 200) => readReply(status, Buffer.from(text))
const problem = (name: string) => ({ kind: 'problem', problem: name })
const replyOf = (text: string): Reply => {
  const heard = read(text)
  if (heard.kind !== 'reply') throw new Error(`expected a reply, found ${JSON.stringify(heard)}`)
  return heard.reply
}
const completed = (text: string, ownScreen: string | null = null) => completeScreen(replyOf(text), ownScreen)

describe('what counts as a reply (contract.md §3)', () => {
  it.each([
    ['screen and data', '{"screen":"A","data":{}}', 'A'],
    ['screen alone', '{"screen":"A"}', 'A'],
    ['data alone', '{"data":{"error_message":"x"}}', null],
    ['a screen, and data that does not count', '{"screen":"A","data":[]}', 'A'],
    ['data, and a screen that does not count', '{"screen":"","data":{}}', null],
    ['other members besides', '{"version":"3.0","data":{},"more":[1]}', null],
    ['white space around', ' \r\n\t{"screen":"A"}\n', 'A'],
  ])('%s', (_name, text, screen) => {
    expect(read(text)).toEqual({ kind: 'reply', reply: { text, body: JSON.parse(text), screen } })
  })

  it.each([200, 201, 202, 204, 226, 299])('status %i', (status) => {
    expect(read('{"data":{}}', status).kind).toBe('reply')
  })

  it.each([0, 100, 199, 300, 301, 304, 400, 401, 404, 410, 426, 428, 500, 503, 599])('not status %i', (status) => {
    expect(read('{"data":{}}', status)).toEqual(problem('bad_status'))
  })

  it.each([
    ['nothing', ''],
    ['white space', '  '],
    ['HTML', '<!doctype html>'],
    ['half a document', '{"data":{'],
    ['two documents', '{"data":{}}{"data":{}}'],
    ['a byte order mark', '\ufeff{"data":{}}'],
    ['single quotes', "{'data':{}}"],
    ['a bare word', 'OK'],
  ])('not %s: not_json', (_name, text) => {
    expect(read(text)).toEqual(problem('not_json'))
  })

  it.each([
    ['an array', '[{"data":{}}]'],
    ['null', 'null'],
    ['a string', '"{\\"data\\":{}}"'],
    ['a number', '1'],
    ['an empty object', '{}'],
    ['data that is an array', '{"data":[]}'],
    ['data that is null', '{"data":null}'],
    ['data that is a string', '{"data":"x"}'],
    ['an empty screen', '{"screen":""}'],
    ['a screen that is a number, and no data', '{"screen":1}'],
    ['members of other names', '{"Screen":"A","DATA":{}}'],
    ['members of its prototype only', '{"__proto__":{"screen":"A"}}'],
  ])('not %s: invalid_reply', (_name, text) => {
    expect(read(text)).toEqual(problem('invalid_reply'))
  })

  it('not bytes that are no UTF-8: not_json', () => {
    expect(readReply(200, Buffer.from([0x22, 0xff, 0x22]))).toEqual(problem('not_json'))
  })

  it('not what is nested deeper than 200: internal_error', () => {
    const nested = (depth: number) => `{"data":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}`
    expect(read(nested(199)).kind).toBe('reply')
    expect(read(nested(200))).toEqual(problem('internal_error'))
    expect(read('['.repeat(500))).toEqual(problem('not_json'))
  })

  it('never throws, for any status and bytes', () => {
    fc.assert(fc.property(fc.nat(999), fc.uint8Array(), (status, bytes) => void readReply(status, bytes)))
    fc.assert(fc.property(fc.nat(999), fc.json(), (status, json) => void read(json, status)))
  })
})

describe('a refusal of the flow token, 427', () => {
  it('is passed on as it came', () => {
    const text = '{ "error_msg": "Ask for a new link", "more": 1.0 }'
    expect(read(text, 427)).toEqual({ kind: 'token_refused', text })
  })

  it.each([
    '{}',
    '{"error_msg":1}',
    '{"error_message":"x"}',
    '[]',
    '',
    'no JSON',
    `{"error_msg":"x","a":${'['.repeat(300)}${']'.repeat(300)}}`,
  ])('is a bad status without an error_msg: %s', (text) => {
    expect(read(text, 427)).toEqual(problem('bad_status'))
  })

  it('is a bad status in bytes that are no UTF-8', () => {
    expect(readReply(427, Buffer.from('{"error_msg":"\xff"}', 'latin1'))).toEqual(problem('bad_status'))
  })
})

describe('completeScreen', () => {
  const numbers = '"a":1.0,"b":12345678901234567890,"c":1e2,"d":-0,"e":0.10000000000000000001'

  it.each([
    ['compact', `{"screen":"A","data":{${numbers}}}`],
    [
      'spaced, with escapes and members in another order',
      ' {"data" : { "z":"\\u00e9\\/" ,"2":1,"1":2 }, "screen":"A" }\n',
    ],
    ['with a member twice', '{"screen":"A","data":{"x":1,"x":2}}'],
    ['without data', '{"screen":"A"}'],
  ])('keeps a reply that has its screen byte for byte: %s', (_name, text) => {
    expect(completed(text, 'OWN')).toBe(text)
    expect(completed(text, null)).toBe(text)
  })

  it('keeps a reply without screen where none is known', () => {
    expect(completed(' {"data":{"x":1.0}}')).toBe(' {"data":{"x":1.0}}')
  })

  it('puts the own screen first and keeps the rest as it was written', () => {
    expect(completed(`{"data":{${numbers}}}`, 'OWN')).toBe(`{"screen":"OWN","data":{${numbers}}}`)
    expect(completed('\n { "data" : {} , "version":3.0}', 'OWN')).toBe('{"screen":"OWN", "data" : {} , "version":3.0}')
  })

  it('keeps every number as it was written where it drops a member', () => {
    const data = `"data":{${numbers},"list":[1.50,{"x":1e400}]}`
    expect(completed(`{"screen":"",${data}}`, 'OWN')).toBe(`{"screen":"OWN",${data}}`)
    expect(completed('{"screen":"A","data":7,"more":12345678901234567890}')).toBe(
      '{"screen":"A","more":12345678901234567890}',
    )
  })

  it('is what JSON makes of it without the members that do not count, whatever else is in it', () => {
    const space = fc.constantFrom('', ' ', '\n\t ')
    const name = fc.constantFrom(
      'screen',
      'data',
      'sc\\u0072een',
      'x',
      '__proto__',
      '1',
      '{',
      '"'.padStart(2, '\\'),
      ',',
    )
    const value = fc.oneof(fc.json({ maxDepth: 2 }), fc.constantFrom('""', '{}', '[1]', '"}"', '{"a":[",",1.0]}'))
    const member = fc
      .tuple(space, name, space, value)
      .map(([a, name, b, value]) => `${a}"${name}"${b}:${a}${value}${b}`)
    const json = fc.array(member, { maxLength: 6 }).map((members) => `{${members.join()}}`)
    fc.assert(
      fc.property(json, (text) => {
        const { kind } = read(text)
        fc.pre(kind === 'reply')
        const { screen, data, ...rest } = JSON.parse(text)
        const isObject = typeof data === 'object' && data !== null && !Array.isArray(data)
        const shown = typeof screen === 'string' && screen !== '' ? screen : 'OWN'
        expect(JSON.parse(completed(text, 'OWN'))).toEqual({ screen: shown, ...rest, ...(isObject && { data }) })
      }),
      { numRuns: 2000 },
    )
  })

  it('leaves other members as they were written where it drops one', () => {
    expect(completed('{ "2":1e2 ,"screen" : null,"1" : [ 1.0 ], "data":{"n":-0}\n}', 'OWN')).toBe(
      '{"screen":"OWN","2":1e2,"1" : [ 1.0 ],"data":{"n":-0}}',
    )
    expect(completed('{"data":{"n":1},"screen":7,"data":{"n":2}}', 'OWN')).toBe('{"screen":"OWN","data":{"n":2}}')
  })

  it('writes any own screen as JSON', () => {
    const screen = 'A"\\\n\u2028\ud800'
    expect(JSON.parse(completed('{"data":{}}', screen))).toEqual({ screen, data: {} })
  })

  it.each([
    ['""', 'OWN', { screen: 'OWN', data: { x: 1 }, version: '3.0' }],
    ['5', 'OWN', { screen: 'OWN', data: { x: 1 }, version: '3.0' }],
    ['null', null, { data: { x: 1 }, version: '3.0' }],
    ['{"a":1}', null, { data: { x: 1 }, version: '3.0' }],
  ])('counts a screen of %s as absent', (screen, ownScreen, expected) => {
    expect(JSON.parse(completed(`{"data":{"x":1},"screen":${screen},"version":"3.0"}`, ownScreen))).toEqual(expected)
  })

  it.each(['[]', 'null', '"x"', '1', 'true'])('drops data of %s and keeps the other members', (data) => {
    const text = `{"screen":"A","data":${data},"version":"3.0"}`
    expect(JSON.parse(completed(text, 'OWN'))).toEqual({ screen: 'A', version: '3.0' })
  })

  it('keeps a member named __proto__ when it must write the reply anew', () => {
    const text = completed('{"screen":"A","data":[],"__proto__":{"x":1}}')
    expect(text).toBe('{"screen":"A","__proto__":{"x":1}}')
  })

  it('always makes JSON that a phone can take: a screen where one is known, data an object, other members as given', () => {
    const part = fc.oneof(fc.constantFrom('A', '', 0, null), fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue())
    const own = fc.option(fc.string({ minLength: 1 }))
    const body = fc.record(
      { screen: part, data: part, version: fc.jsonValue(), '': fc.jsonValue(), é: fc.jsonValue() },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(body, own, fc.constantFrom(0, 2), (given, ownScreen, indent) => {
        const heard = read(JSON.stringify(given, null, indent))
        if (heard.kind !== 'reply') return
        const answer = JSON.parse(completeScreen(heard.reply, ownScreen))
        const { screen, data, ...others } = JSON.parse(heard.reply.text)
        const expectedScreen = typeof screen === 'string' && screen !== '' ? screen : ownScreen
        const expectsData = typeof data === 'object' && data !== null && !Array.isArray(data)
        expect(answer).toEqual({
          ...others,
          ...(expectedScreen === null ? {} : { screen: expectedScreen }),
          ...(expectsData ? { data } : {}),
        })
      }),
    )
  })
})
