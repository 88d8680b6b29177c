import fc from 'fast-check'
import { expect, test } from 'vitest'
import { phoneNumber, text, time } from '../../../src/api/fields.ts'
import { pageMembers, pageOf } from '../../../src/api/list.ts'
import { webhookHeaders } from '../../../src/api/webhook-headers.ts'

test('text that passes survives UTF-8 and has no NUL', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1 }), (value) => {
      const survives = Buffer.from(value).toString() === value && !value.includes('\0')
      expect(text(10_000).safeParse(value).success).toBe(survives)
    }),
  )
  expect(text(5).safeParse('\ud83e').success).toBe(false)
  expect(text(5).safeParse('').success).toBe(false)
  expect(text(5).safeParse('123456').success).toBe(false)
})

test('a phone number is a plus and 8 to 15 digits', () => {
  for (const good of ['+12345678', '+5215512345678', '+123456789012345'])
    expect(phoneNumber.safeParse(good).success).toBe(true)
  for (const bad of ['+1234567', '+1234567890123456', '5215512345678', '+1234567\u0668', ' +12345678', '+12345678\n']) {
    expect(phoneNumber.safeParse(bad).success).toBe(false)
  }
})

test('times are read to the millisecond, whatever their offset', () => {
  expect(time.parse('2026-05-06T20:59:00.1+02:00')).toEqual(new Date('2026-05-06T18:59:00.100Z'))
  fc.assert(
    fc.property(fc.date({ min: new Date(0), max: new Date(Date.UTC(9999) - 1), noInvalidDate: true }), (date) => {
      expect(time.parse(date.toISOString())).toEqual(date)
    }),
  )
})

test('a cursor leads to the row where its page ended', async () => {
  const rows = ['c', 'b', 'a'].map((id) => ({ id }))
  const load = async ({ limit, before }: { limit: number; before: string | null }) =>
    rows.filter((row) => before === null || row.id < before).slice(0, limit)
  const members = pageMembers(/^[a-c]$/)
  const page = (cursor?: string | null) =>
    pageOf(
      { limit: 2, cursor: members.cursor.parse(cursor ?? undefined) },
      load,
      (row) => row.id,
      (row) => row.id,
    )
  const first = await page()
  expect(first.data).toEqual(['c', 'b'])
  expect(await page(first.nextCursor)).toEqual({ data: ['a'], nextCursor: null })
})

const headersPass = (headers: unknown) => webhookHeaders.safeParse(headers).success

test.each([
  'Content-Type',
  'content-length',
  'HOST',
  'User-Agent',
  'Traceparent',
  'tracestate',
  'X-Webhook-Anything',
  'webhook-id',
  'Webhook-Signature',
  'Connection',
  'keep-alive',
  'proxy-authorization',
  'TE',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  '',
  'a b',
  'a:b',
  'n\u00e4me',
  'x'.repeat(129),
])('the header name %j is refused', (name) => {
  expect(headersPass({ [name]: 'x' })).toBe(false)
})

test.each(['Authorization', 'X-Api-Key', 'x-webhook', 'tenant', "!#$%&'*+-.^_`|~", 'x'.repeat(128)])(
  'the header name %j is taken',
  (name) => {
    expect(headersPass({ [name]: 'x' })).toBe(true)
  },
)

test('header values are printable Latin-1', () => {
  for (const good of ['', 'Bearer x', 'caf\u00e9', 'x'.repeat(4096)]) expect(headersPass({ a: good })).toBe(true)
  for (const bad of ['a\r\nb', 'a\nb', 'a\0', '\t', '\x7f', '\x85', '\u20ac', 'x'.repeat(4097), 5, null]) {
    expect(headersPass({ a: bad })).toBe(false)
  }
})

test('at most ten headers, each once whatever its case', () => {
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'x']))
  expect(headersPass(many(10))).toBe(true)
  expect(headersPass(many(11))).toBe(false)
  expect(headersPass({ 'X-A': '1', 'x-a': '2' })).toBe(false)
})
