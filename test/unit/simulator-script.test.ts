import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BadInput } from '../../src/simulator/bad-input.ts'
import { personalisedOffer, ping } from '../../src/simulator/journey.ts'
import { percentile } from '../../src/simulator/load.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import { resolveReferences } from '../../src/simulator/reference.ts'
import { formatTable } from '../../src/simulator/report.ts'
import { parseScript } from '../../src/simulator/script.ts'

const open = { name: 'open', action: 'INIT' }

describe('parseScript', () => {
  test('takes the default script as a file would hold it', () => {
    const steps = [ping, ...personalisedOffer]
    expect(parseScript(JSON.stringify(steps))).toEqual(steps)
  })

  test.each([
    ['{', 'is not JSON'],
    ['{}', 'must be a list of at least one step'],
    ['[]', 'must be a list of at least one step'],
    ['[null]', '[0] must be an object'],
    [[{ action: 'ping' }], '[0].name is missing'],
    [[{ name: 'a.b', action: 'ping' }], '[0].name must be'],
    [[{ name: 'a' }], '[0].action is missing'],
    [[{ name: 'a', action: 'init' }], '[0].action must be one of ping, INIT, data_exchange, BACK, error'],
    [[open, { name: 'b', action: 'BACK', screen: 1 }], '[1].screen must be a string'],
    [[{ ...open, data: [] }], '[0].data must be an object'],
    [[{ ...open, flow_token: 'x' }], '[0].flow_token is not known; known are name, action'],
    [[{ ...open, toString: 'x' }], '[0].toString is not known'],
    [[{ ...open, expectation: { status: '200' } }], '[0].expectation.status must be an HTTP status'],
    [[{ ...open, expectation: { acknowledged: 1 } }], '[0].expectation.acknowledged must be true or false'],
    [[{ ...open, expectation: { outcome: 'replied' } }], '[0].expectation.outcome is not known'],
    [[open, open], '[1].name is taken by an earlier step'],
    [[{ ...open, data: { a: ['{{later.data.id}}'] } }], '[0].data refers to "later", which is no earlier step'],
  ])('%j: %s', (script, message) => {
    const text = typeof script === 'string' ? script : JSON.stringify(script)
    expect(() => parseScript(text)).toThrow(BadInput)
    expect(() => parseScript(text)).toThrow(message)
  })

  test('any JSON is either a script or refused in one line', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          expect(parseScript(text).length).toBeGreaterThan(0)
        } catch (error) {
          expect(error).toBeInstanceOf(BadInput)
          expect(String(error)).not.toContain('\n')
        }
      }),
    )
  })
})

describe('the page on scripts', () => {
  const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const [, section = ''] = /^## Simulate$(.*?)^## /ms.exec(page) ?? []

  test('has a script that can be played, with every action', () => {
    const [, script = ''] = /^```json$(.*?)^```$/ms.exec(section) ?? []
    const actions = new Set(parseScript(script).map(({ action }) => action))
    expect([...actions].toSorted()).toEqual(['BACK', 'INIT', 'data_exchange', 'error', 'ping'])
  })

  test('has a row for every member', () => {
    const knownTo = (script: unknown): string[] => {
      try {
        parseScript(JSON.stringify(script))
      } catch (error) {
        return /known are (.*)$/.exec(String(error))?.[1]?.split(', ') ?? []
      }
      return []
    }
    const known = [...knownTo([{ ...open, other: 1 }]), ...knownTo([{ ...open, expectation: { other: 1 } }])]
    expect(known).toHaveLength(11)
    expect([...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)).toEqual(known)
  })
})

describe('writeMessage', () => {
  test('a submit, a BACK and an error notification in the client’s member order', () => {
    const submit = writeMessage({ name: 's', action: 'data_exchange', screen: 'SUMMARY', data: { a: 1 } }, 'token')
    const rest = '"action":"data_exchange","version":"3.0"}'
    expect(submit).toEqual({
      kind: 'exchange',
      text: `{"data":{"a":1},"flow_token":"token","screen":"SUMMARY",${rest}`,
    })
    const back = writeMessage(
      { name: 'b', action: 'BACK', screen: 'OFFER', version: '4.0', flowToken: 'unused' },
      'token',
    )
    expect(back.text).toBe('{"data":{},"flow_token":"unused","screen":"OFFER","action":"BACK","version":"4.0"}')
    const notice = writeMessage({ name: 'e', action: 'error', screen: 'OFFER' }, 'token')
    expect(notice.kind).toBe('error_notification')
    const { data, action } = JSON.parse(notice.text)
    expect(action).toBe('data_exchange')
    expect(Object.keys(data)).toEqual(['error', 'error_message'])
    const own = writeMessage({ name: 'e', action: 'error', data: { error: '' } }, 'token')
    expect(JSON.parse(own.text).data).toEqual({ error: '' })
  })
})

describe('resolveReferences', () => {
  const answers = new Map([['open', { screen: 'A', data: { products: [{ id: 'p1', stock: 3 }] } }]])

  test('puts earlier answers’ members in place, with their type, however deep', () => {
    const data = {
      id: '{{open.data.products.0.id}}',
      list: [{ stock: '{{open.data.products.0.stock}}' }],
      text: 'a {{b.c}}',
    }
    expect(resolveReferences(data, answers)).toEqual({ id: 'p1', list: [{ stock: 3 }], text: 'a {{b.c}}' })
  })

  test.each(['open.data.products.1.id', 'other.data', 'open.constructor', 'open.data.products.length.x'])(
    '%s leads nowhere',
    (path) => {
      expect(resolveReferences({ id: `{{${path}}}` }, answers)).toBe(path)
    },
  )
})

test('percentiles are the nearest rank', () => {
  const hundred = Float64Array.from({ length: 100 }, (_, index) => index + 1)
  expect([50, 90, 99, 100].map((percent) => percentile(hundred, percent))).toEqual([50, 90, 99, 100])
  expect(percentile(Float64Array.of(7), 50)).toBe(7)
  expect(percentile(Float64Array.of(), 99)).toBe(0)
  fc.assert(
    fc.property(fc.float64Array({ minLength: 1, noNaN: true }), fc.integer({ min: 1, max: 100 }), (values, percent) => {
      const sorted = values.toSorted()
      const found = percentile(sorted, percent)
      expect(sorted.filter((value) => value <= found).length).toBeGreaterThanOrEqual((percent / 100) * sorted.length)
      expect(sorted.filter((value) => value < found).length).toBeLessThan((percent / 100) * sorted.length)
    }),
  )
})

test('a table lines up, numbers to the right', () => {
  expect(
    formatTable(
      ['action', 'ms'],
      [
        ['INIT', '5.0'],
        ['data_exchange', '12.0'],
      ],
      ['ms'],
    ),
  ).toEqual(['action           ms', '-------------  ----', 'INIT            5.0', 'data_exchange  12.0'])
})
