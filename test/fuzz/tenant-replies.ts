import fc from 'fast-check'
import { type ByteChange, byteChanges, spoilt } from './hostile-bytes.ts'
import { changed, hostileValue, type JsonChange, jsonChanges } from './hostile-json.ts'
import { messagesOf, newFlowToken } from './messages.ts'
import { depthOf, judgeCall } from './plaintext.ts'
import type { Script } from './scripted-tenant.ts'
import { Finding, insist, type Target, type TargetKind } from './target.ts'
import { isObject, parsed, type World } from './world.ts'

interface Case {
  readonly account: number
  readonly message: string
  readonly status: string
  readonly before: string
  readonly lines: readonly string[]
  readonly framing: 'length' | 'chunked' | 'none' | 'short' | 'long' | 'both' | 'bad chunks'
  readonly shape: number
  readonly changes: readonly JsonChange[]
  readonly spoils: readonly ByteChange[]
  /** In place of a shape. */
  readonly junk: string | Uint8Array | null
  /** Of the whole answer. */
  readonly wireSpoils: readonly ByteChange[]
  readonly cuts: readonly number[]
  readonly pauseMs: number
  readonly end: Script['end']
}

const shapes = [
  { screen: 'NEXT', data: { options: [{ id: '1', title: 'One' }], price: 12.5, error_message: 'no' } },
  { data: { extension_message_response: { params: { flow_token: 't', choice: 'p2' } } }, screen: 'SUCCESS' },
  { data: {} },
  { error_msg: 'Gone' },
  { version: '3.0', screen: 'A', data: { a: null } },
]
const statuses = [
  ...[
    '200 OK',
    '201 Created',
    '204 No Content',
    '206 Partial',
    '299 ',
    '300 Many',
    '301 Moved',
    '304 Not Modified',
    '400 Bad',
    '404 Not Found',
  ],
  ...[
    '410 Gone',
    '421 Misdirected',
    '427 Token',
    '429 Too Many',
    '500 Oh',
    '503 Busy',
    '599 ',
    '999 ',
    '101 Switching Protocols',
    '100 Continue',
  ],
  ...['103 Early Hints', '000 Zero', '-1 x', '20 x', '2000 x', 'OK', '200', '200 \xff\0'],
]
const headerLines = [
  ...[
    'content-type: text/html',
    'content-type: application/json; charset=utf-16',
    'content-encoding: gzip',
    'content-encoding: br',
  ],
  ...[
    'connection: close',
    'connection: upgrade',
    'keep-alive: timeout=0',
    'keep-alive: timeout=-1, max=1e9',
    'retry-after: 1e99',
    'retry-after: -5',
  ],
  ...[
    'location: http://169.254.169.254/',
    'transfer-encoding: gzip',
    'transfer-encoding: identity',
    'content-length: -1',
    'content-length: 1e3',
  ],
  ...[
    'content-length: 99999999999999999999',
    'set-cookie: a=b',
    'trailer: x-a',
    'x-nul: \0',
    'x-latin: \xff\xfe',
    ': none',
    'none',
    ' folded: 1',
  ],
  ...['upgrade: websocket', '__proto__: 1', `x-long: ${'x'.repeat(20_000)}`, 'x-many: 1\r\n'.repeat(2_000).trimEnd()],
]
const usually = <T>(usual: T, ...others: T[]) =>
  fc.oneof({ weight: 8 * others.length, arbitrary: fc.constant(usual) }, fc.constantFrom(...others))

const cases: fc.Arbitrary<Case> = fc.record({
  account: fc.nat(2),
  message: fc.constantFrom('init', 'exchange', 'back'),
  status: fc.oneof(
    { weight: 24, arbitrary: fc.constant('200 OK') },
    { weight: 2, arbitrary: fc.constant('427 Token') },
    { weight: 6, arbitrary: fc.constantFrom(...statuses) },
  ),
  before: usually(
    '',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'.repeat(20),
    '\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
  ),
  lines: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    fc.array(fc.constantFrom(...headerLines), { maxLength: 3 }),
  ),
  framing: usually<Case['framing']>('length', 'chunked', 'none', 'short', 'long', 'both', 'bad chunks'),
  shape: fc.nat(shapes.length - 1),
  changes: jsonChanges(3),
  spoils: fc.oneof({ weight: 6, arbitrary: fc.constant([]) }, byteChanges(3)),
  junk: fc.oneof(
    { weight: 20, arbitrary: fc.constant(null) },
    hostileValue,
    fc.uint8Array({ maxLength: 100 }),
    fc.constant('['.repeat(300_000)),
  ),
  wireSpoils: fc.oneof({ weight: 12, arbitrary: fc.constant([]) }, byteChanges(3)),
  cuts: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(fc.nat(2000), { maxLength: 4 })),
  pauseMs: usually(0, 1, 5, 40),
  end: usually<Script['end']>('keep', 'fin', 'rst', 'hang'),
})

/** What a webhook may put on the wire for an answer. Whatever that is, Meta gets a 200 or 427 that opens. */
export const tenantReplies: TargetKind = {
  name: 'tenant-replies',
  share: 20,
  leavesAnswers: true,
  reaches: ['200 reply', '200 fallback'],
  environment: { ENRICHMENT_BUDGET_MS: '5000' },
  make: async (world) => makeTarget(world),
}

async function makeTarget(world: World): Promise<Target<Case>> {
  // The breaker has tests of its own; here every case is to reach the tenant. 100 ms is the least that may be set.
  const asked = { breaker: { mode: 'off' }, timeoutMs: 100 }
  const endpoints = [
    await world.account(asked),
    await world.account({ ...asked, fallback: { mode: 'last_good' } }),
    await world.account({ ...asked, fallback: { mode: 'stay', errorMessage: 'Again, please' } }),
  ]
  const healthy = await world.account()
  world.onCall = judgeCall
  return {
    cases,
    async run(one) {
      const endpoint = endpoints[one.account] ?? endpoints[0]
      if (endpoint === undefined) throw new Finding('no endpoint')
      const flowToken = newFlowToken()
      world.tenant.answer(flowToken, scriptOf(one))
      try {
        const { status, answer } = await endpoint.call(Buffer.from(JSON.stringify(messagesOf(flowToken)[one.message])))
        return `${status} ${judge(one, status, answer)}`
      } finally {
        world.tenant.forget(flowToken)
      }
    },
    stillWorks: () => healthy.stillWorks(),
    show: (one) => Buffer.concat(scriptOf(one).pieces.map(({ bytes }) => bytes)).toString('latin1'),
  }
}

const own = { init: undefined, exchange: 'SUMMARY', back: 'SUMMARY' }

/** By contract.md §3 "What counts as a reply", in other words than Relevo's. */
function judge(one: Case, status: number, answer: Record<string, unknown>): string {
  insist(status === 200 || status === 427, `${status}: neither 200 nor 427`)
  const body = bodyOf(one)
  if (status === 427) {
    insist(typeof answer.error_msg === 'string', 'a 427 without error_msg')
    return 'token refused'
  }
  if (isAcknowledged(answer)) return 'fallback'
  if (one.wireSpoils.length > 0 || one.lines.length > 0 || one.before !== '') return 'reply, spoilt'
  insist(one.status.startsWith('2'), `a reply with the status ${one.status} was relayed`)
  if (one.framing !== 'length' && one.framing !== 'chunked') return 'reply, framed badly'
  const reply = parsed(body.toString())
  insist(isObject(reply) && depthOf(body.toString()) <= 200, 'what is no reply was relayed')
  const { screen, data, ...others } = reply
  const hasScreen = typeof screen === 'string' && screen !== ''
  const screenThen = hasScreen ? screen : own[one.message as keyof typeof own]
  const expected = {
    ...(screenThen === undefined ? {} : { screen: screenThen }),
    ...(isObject(data) ? { data } : {}),
    ...others,
  }
  insist(sorted(answer) === sorted(expected), 'the answer is not the reply')
  return 'reply'
}

const isAcknowledged = (answer: Record<string, unknown>) => JSON.stringify(answer) === '{"data":{"acknowledged":true}}'

function sorted(value: unknown): string {
  return JSON.stringify(value, (_name, member) =>
    isObject(member) ? Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)) : member,
  )
}

function bodyOf({ shape, changes, spoils, junk }: Case): Buffer {
  return spoilt(junk === null ? Buffer.from(changed(shapes[shape], changes)) : Buffer.from(junk), spoils)
}

function scriptOf(one: Case): Script {
  const body = bodyOf(one)
  const head = `${one.before}HTTP/1.1 ${one.status}\r\n${[...one.lines, ...framingLines(one.framing, body.length)].map((line) => `${line}\r\n`).join('')}\r\n`
  const bytes = spoilt(Buffer.concat([Buffer.from(head, 'latin1'), framed(one.framing, body)]), one.wireSpoils)
  const cuts = [...new Set(one.cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  const pieces = [0, ...cuts].map((from, index) => ({
    bytes: bytes.subarray(from, cuts[index] ?? bytes.length),
    pauseMs: index === 0 ? 0 : one.pauseMs,
  }))
  // Without a length only the end of the connection ends the body.
  return { pieces, end: one.framing === 'none' && one.end === 'keep' ? 'fin' : one.end }
}

function framingLines(framing: Case['framing'], length: number): string[] {
  const lines = { length: length, short: Math.max(0, length - 3), long: length + 50, both: length }
  const chunked =
    framing === 'chunked' || framing === 'both' || framing === 'bad chunks' ? ['transfer-encoding: chunked'] : []
  return framing in lines ? [`content-length: ${lines[framing as keyof typeof lines]}`, ...chunked] : chunked
}

function framed(framing: Case['framing'], body: Buffer): Buffer {
  if (framing === 'bad chunks') return Buffer.concat([Buffer.from('ffffffffffffffffff\r\n'), body])
  if (framing !== 'chunked' && framing !== 'both') return body
  const half = body.length >> 1
  const chunk = (part: Buffer) =>
    part.length === 0 ? [] : [Buffer.from(`${part.length.toString(16)};a=b\r\n`), part, Buffer.from('\r\n')]
  return Buffer.concat([...chunk(body.subarray(0, half)), ...chunk(body.subarray(half)), Buffer.from('0\r\n\r\n')])
}
