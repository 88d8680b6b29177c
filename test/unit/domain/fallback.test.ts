import { describe, expect, it } from 'vitest'
import { acknowledged, fallbackAnswer, noMemory, type ReplyMemory, screenDataOf } from '../../../src/domain/fallback.ts'

const memory: ReplyMemory = {
  screenData: screenDataOf('{"screen":"FORM","data":{"products":[{"id":"p1"}],"error_message":"from before"}}'),
  lastGood: '{"screen":"NEXT", "data":{"price":1.50}}',
}

it('the acknowledgement is that of contract.md §3, to the letter', () => {
  expect(acknowledged).toBe('{"data":{"acknowledged":true}}')
})

describe('without a choice, and in mode acknowledged', () => {
  it.each([null, { mode: 'acknowledged' } as const])('Meta gets the acknowledgement (%j)', (fallback) => {
    expect(fallbackAnswer(fallback, 'A', 'A', memory)).toBe(acknowledged)
    expect(fallbackAnswer(fallback, null, null, noMemory)).toBe(acknowledged)
  })
})

describe('stay', () => {
  const stay = { mode: 'stay', errorMessage: 'Please try "again"' } as const

  it('is the current screen with the data it had, and the message in place of an older one', () => {
    expect(JSON.parse(fallbackAnswer(stay, 'FORM', 'FORM', memory))).toEqual({
      screen: 'FORM',
      data: { products: [{ id: 'p1' }], error_message: 'Please try "again"' },
    })
  })

  it('works for a screen that had no data', () => {
    expect(fallbackAnswer(stay, 'FORM', 'FORM', { ...noMemory, screenData: '' })).toBe(
      '{"screen":"FORM","data":{"error_message":"Please try \\"again\\""}}',
    )
    for (const answer of ['{"screen":"A"}', '{"screen":"A","data":null}', '{"screen":"A","data":{}}'])
      expect(screenDataOf(answer)).toBe('')
  })

  it('gives the data to the letter, whose schema the phone checks: no number becomes another', () => {
    const screenData = screenDataOf(
      '{"data":1, "screen":"A", "d\\u0061ta" : {"order":12345678901234567890,"much": 1e400 ,"error_message":"a" , "one":1.0 } }',
    )
    expect(fallbackAnswer(stay, 'A', 'A', { ...noMemory, screenData })).toBe(
      '{"screen":"A","data":{"order":12345678901234567890,"much": 1e400,"one":1.0,"error_message":"Please try \\"again\\""}}',
    )
    expect(screenDataOf('no JSON')).toBeNull()
  })

  it('is the acknowledgement where the data is not known', () => {
    expect(fallbackAnswer(stay, 'FORM', 'FORM', { ...memory, screenData: null })).toBe(acknowledged)
  })

  it('is the acknowledgement where there is no current screen, as at INIT', () => {
    expect(fallbackAnswer(stay, null, 'FIRST', memory)).toBe(acknowledged)
  })
})

describe('static', () => {
  const answer = (reply: Record<string, unknown>, ownScreen: string | null) =>
    fallbackAnswer({ mode: 'static', reply }, null, ownScreen, memory)

  it('is the reply as given, its own screen included', () => {
    expect(answer({ data: { a: 1 }, screen: 'SORRY', version: '3.0' }, 'OWN')).toBe(
      '{"data":{"a":1},"screen":"SORRY","version":"3.0"}',
    )
  })

  it('is completed with the own screen, like a reply', () => {
    expect(JSON.parse(answer({ data: {} }, 'OWN'))).toEqual({ screen: 'OWN', data: {} })
    expect(JSON.parse(answer({ data: {}, screen: '' }, 'OWN'))).toEqual({ screen: 'OWN', data: {} })
  })

  it('goes out without a screen where none is known', () => {
    expect(answer({ data: {} }, null)).toBe('{"data":{}}')
  })
})

describe('last_good', () => {
  it('is the last valid answer, byte for byte', () => {
    expect(fallbackAnswer({ mode: 'last_good' }, 'A', 'A', memory)).toBe(memory.lastGood)
  })

  it('is the acknowledgement where there is none', () => {
    expect(fallbackAnswer({ mode: 'last_good' }, 'A', 'A', noMemory)).toBe(acknowledged)
  })
})
