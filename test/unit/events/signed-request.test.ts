import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readSigningSecret } from '../../../src/crypto/webhook-signature.ts'
import { maxReplyBytes, resourceIdHeader, type SignedWebhook, signRequest } from '../../../src/events/signed-request.ts'

const bytes = Buffer.from('{"id":"1","text":"é\\/"}')
const outgoing = {
  id: '0199a000-0000-7000-8000-000000000001',
  event: 'whatsapp.flows.init',
  resourceId: 'a-token',
  timestamp: new Date('2030-01-02T03:04:05.678Z'),
  bytes,
} as const
const sending = {
  deadlineMs: 700,
  userAgent: 'Platica-Webhooks/1.0',
  sentAt: new Date('2030-01-02T03:04:06.999Z'),
  attempt: 1,
  isAnswerAwaited: true,
}
const sentAtSeconds = Date.UTC(2030, 0, 2, 3, 4, 6) / 1000

interface Given {
  readonly current?: string | null
  readonly previous?: readonly string[]
  readonly headers?: Record<string, string>
}

function webhook({ current = null, previous = [], headers = {} }: Given = {}): SignedWebhook {
  return {
    id: 'wh_1',
    url: 'https://tenant.example/hook',
    headers: () => headers,
    signingSecrets: () => ({
      current: current === null ? null : readSigningSecret(current),
      previous: previous.map(readSigningSecret),
    }),
  }
}

const headersOf = (given?: Given) => signRequest(webhook(given), outgoing, sending).headers
const hexHmac = (secret: string) => `sha256=${createHmac('sha256', secret).update(bytes).digest('hex')}`
const standard = (key: string | Buffer) =>
  `v1,${createHmac('sha256', key).update(`${outgoing.id}.${sentAtSeconds}.`).update(bytes).digest('base64')}`

const unsigned = {
  'Content-Type': 'application/json',
  'User-Agent': 'Platica-Webhooks/1.0',
  'X-Webhook-Event': 'whatsapp.flows.init',
  'X-Webhook-Id': 'wh_1',
  'X-Webhook-Event-Id': outgoing.id,
  'X-Webhook-Resource-Type': 'flow_response',
  'X-Webhook-Resource-Id': 'a-token',
  'X-Webhook-Timestamp': '2030-01-02T03:04:05.678Z',
  'X-Webhook-Attempt': '1',
  'X-Webhook-Timeout-Ms': '700',
  'webhook-id': outgoing.id,
  'webhook-timestamp': String(sentAtSeconds),
}

describe('the headers of contract.md §4', () => {
  it('without a secret: all but the signatures', () => {
    expect(headersOf()).toEqual(unsigned)
  })

  it('with a secret: both families of signatures over the bytes that are sent', () => {
    expect(headersOf({ current: 'plain text' })).toEqual({
      ...unsigned,
      'X-Webhook-Signature': hexHmac('plain text'),
      'webhook-signature': standard('plain text'),
    })
  })

  it('with a secret of Standard Webhooks: its text for the one, its bytes for the other', () => {
    const key = Buffer.from('0123456789abcdef0123456789abcdef')
    const current = `whsec_${key.toString('base64')}`
    expect(headersOf({ current })).toMatchObject({
      'X-Webhook-Signature': hexHmac(current),
      'webhook-signature': standard(key),
    })
  })

  it('in a grace period: the newest of the old secrets by itself, and all in the list, the current first', () => {
    expect(headersOf({ current: 'now', previous: ['before', 'long before'] })).toEqual({
      ...unsigned,
      'X-Webhook-Signature': hexHmac('now'),
      'X-Webhook-Signature-Previous': hexHmac('before'),
      'webhook-signature': [standard('now'), standard('before'), standard('long before')].join(' '),
    })
  })

  it('where the secret was taken away and an old one still lives: that one', () => {
    expect(headersOf({ current: null, previous: ['before'] })).toEqual({
      ...unsigned,
      'X-Webhook-Signature-Previous': hexHmac('before'),
      'webhook-signature': standard('before'),
    })
  })

  it("asks for the secrets that live when the attempt is made, not at the envelope's time", () => {
    const asked: Date[] = []
    const signingSecrets = (now: Date) => {
      asked.push(now)
      return { current: null, previous: [] }
    }
    signRequest({ ...webhook(), signingSecrets }, outgoing, sending)
    expect(asked).toEqual([sending.sentAt])
  })
})

describe("the webhook's own headers", () => {
  it('are sent', () => {
    const headers = { Authorization: 'Bearer of-the-tenant', 'X-Tenant': '1' }
    expect(headersOf({ headers })).toEqual({ ...headers, ...unsigned })
  })

  it('override none of ours', () => {
    const ours = headersOf({ current: 'now', previous: ['before'] })
    const forged = Object.fromEntries(Object.keys(ours).map((name) => [name, 'forged']))
    expect(headersOf({ current: 'now', previous: ['before'], headers: forged })).toEqual(ours)
  })
})

it('what is sent belongs to the webhook: its URL, its deadline, the bytes that were signed', () => {
  const { headers: _, ...request } = signRequest(webhook(), outgoing, { ...sending, deadlineMs: 8000 })
  expect(request).toEqual({
    webhookId: 'wh_1',
    url: 'https://tenant.example/hook',
    body: bytes,
    deadlineMs: 8000,
    maxReplyBytes: 256 * 1024,
  })
  expect(request.body).toBe(bytes)
  expect(maxReplyBytes).toBe(262_144)
})

describe('X-Webhook-Resource-Id', () => {
  it.each([
    ['no token', null, ''],
    ['a token as Meta makes it', 'ZmxvdyQwMQ==', 'ZmxvdyQwMQ=='],
    ['every visible ASCII character', '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~', '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'],
    ['what looks encoded', 'a%20b', 'a%20b'],
    ['a space', 'a b', 'a%20b'],
    ['line breaks', 'a\r\nX-Injected: 1', 'a%0D%0AX-Injected%3A%201'],
    ['a line break at the end', 'a\n', 'a%0A'],
    ['NUL and DEL', '\u0000\u007f', '%00%7F'],
    ['beyond ASCII, the whole of it', 'a/é', 'a%2F%C3%A9'],
    ['an emoji', '🎈', '%F0%9F%8E%88'],
    ['half of one', 'a\ud83c', 'a%EF%BF%BD'],
    ['1,024 characters', 'a'.repeat(1024), 'a'.repeat(1024)],
    ['1,025 characters', 'a'.repeat(1025), ''],
    ['1,025 that would be encoded', '\n'.repeat(1025), ''],
  ])('%s', (_name, flowToken, expected) => {
    expect(resourceIdHeader(flowToken)).toBe(expected)
  })

  it('is a valid header value for any token, and can be read back', () => {
    const anyToken = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 1024 })
      .filter((token) => token.length <= 1024)
    fc.assert(
      fc.property(anyToken, (flowToken) => {
        const header = resourceIdHeader(flowToken)
        expect(header).toMatch(/^[\x21-\x7e]+$/)
        if (header !== flowToken) expect(decodeURIComponent(header)).toBe(flowToken.toWellFormed())
      }),
    )
  })
})
