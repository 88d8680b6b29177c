import fc from 'fast-check'
import { type ByteChange, byteChanges, spoilt } from './hostile-bytes.ts'
import { changed, hostileText, hostileValue, type JsonChange, jsonChanges } from './hostile-json.ts'
import { messageNames, messagesOf, newFlowToken } from './messages.ts'
import { insist, type Target, type TargetKind } from './target.ts'
import { bytesOf, type WireRequest } from './wire.ts'
import { type Endpoint, opened, type Sealed, type World } from './world.ts'

type Signature = 'right' | 'none' | 'wrong' | 'upper case' | 'long'

interface BodyCase {
  readonly kind: 'sealed' | 'junk' | 'large'
  readonly message: string
  readonly ivBytes: number
  readonly changes: readonly JsonChange[]
  readonly spoils: readonly ByteChange[]
  readonly junk: string | Uint8Array
  readonly signature: Signature
  readonly chunkBytes: number | null
  readonly metaFlowId: string | null
  /** Sent twice at once. */
  readonly twice: boolean
}

interface WireCase {
  readonly kind: 'wire'
  readonly method: string
  readonly path: string
  readonly version: string
  readonly lines: readonly string[]
  readonly spoils: readonly ByteChange[]
}

type Case = BodyCase | WireCase

const base64Of = (bytes: number) => JSON.stringify(Buffer.alloc(bytes, 7).toString('base64'))
/** Base64 of the lengths that count: a tag, keys, IVs, blocks of RSA, and texts that only lax decoders take. */
const outerValues = [0, 1, 11, 12, 13, 15, 16, 17, 32, 255, 256, 257, 512]
  .map(base64Of)
  .concat('"QUJD\\nRA=="', '"__-_"', '"QUI"', '"QUJ="', '"=AAA"')

const about = {
  message: fc.constantFrom(...messageNames),
  ivBytes: fc.constantFrom(16, 16, 12),
  signature: fc.oneof(
    { weight: 9, arbitrary: fc.constant<Signature>('right') },
    fc.constantFrom<Signature[]>('none', 'wrong', 'upper case', 'long'),
  ),
  chunkBytes: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, fc.constantFrom(1, 7, 1000)),
  metaFlowId: fc.oneof(
    { weight: 5, arbitrary: fc.constant(null) },
    fc.constantFrom('1', '%00', '%F0%9F%8E%89', '..%2f', '__proto__', 'a'.repeat(200)),
  ),
  twice: fc.integer({ min: 0, max: 9 }).map((roll) => roll === 9),
  junk: fc.constant(''),
}
const bodyCases = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      ...about,
      kind: fc.constant('sealed' as const),
      changes: jsonChanges(2, outerValues),
      spoils: fc.constant([]),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      ...about,
      kind: fc.constant('sealed' as const),
      changes: jsonChanges(1, outerValues),
      spoils: byteChanges(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      ...about,
      kind: fc.constant('junk' as const),
      changes: fc.constant([]),
      spoils: byteChanges(2),
      junk: fc.oneof(hostileValue, fc.uint8Array({ maxLength: 300 })),
    }),
  },
)
const largeCases = fc.record({
  ...about,
  kind: fc.constant('large' as const),
  chunkBytes: fc.constantFrom(null, null, 50_000),
  changes: fc.constant([]),
  spoils: fc.constant([]),
  junk: fc.constantFrom(1_048_575, 1_048_576, 1_048_577, 3_000_000).map((bytes) => '['.repeat(bytes)),
})

const lines = [
  ...[
    'Content-Length: 5',
    'Content-Length: -1',
    'Content-Length: +5',
    'Content-Length: 0x10',
    'Content-Length: 99999999999999999999',
  ],
  ...[
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding: xchunked',
  ],
  ...[
    'Expect: 100-continue',
    'Expect: a miracle',
    'Upgrade: h2c',
    'Connection: Upgrade, HTTP2-Settings',
    'Connection: close',
    'Connection: keep-alive',
  ],
  ...[
    'Host: other.test',
    'Host:',
    ' folded: 1',
    'x-nul: \0',
    'x-latin: \xff\xfe',
    ': no name',
    'no colon',
    'x y: 1',
    '__proto__: 1',
    'constructor: 1',
  ],
  ...[
    'Content-Type: text/html; charset=utf-16',
    'Content-Encoding: gzip',
    'Accept-Version: 2',
    'Accept: */*;q=NaN',
    'Cookie: a=b',
  ],
  ...[
    'X-HTTP-Method-Override: DELETE',
    'X-Forwarded-For: 127.0.0.1',
    'X-Hub-Signature-256: sha256=',
    'X-Hub-Signature: sha1=00',
  ],
  ...[`x-long: ${'x'.repeat(20_000)}`, 'x-many: 1\r\n'.repeat(300).trimEnd(), '', 'GET / HTTP/1.1'],
]
const paths = [
  ...[
    '',
    '?',
    '?x=%',
    '?x[]=1&x[__proto__]=2',
    '#x',
    '/',
    '//',
    '/../data',
    '%2f',
    '%',
    '%ff',
    '\0',
    ' ',
    '\\',
    ';a=b',
    `/${'9'.repeat(9000)}`,
  ],
  ...['?hub.mode=subscribe', '/../../v1/wabas', '/%2e%2e/', '?'.repeat(2000)],
]
const methods = [
  'POST',
  'POST',
  'POST',
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'TRACE',
  'CONNECT',
  'QUERY',
  'PRI',
  'post',
  'FOO',
  '',
  'PROPFIND',
]
const wireCases: fc.Arbitrary<WireCase> = fc.record({
  kind: fc.constant('wire' as const),
  method: fc.constantFrom(...methods),
  path: fc.oneof(fc.constant(''), fc.constantFrom(...paths), hostileText(12)),
  version: fc.constantFrom(
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/2.0',
    'HTTP/0.9',
    'HTTP/1.11',
    'http/1.1',
    '',
  ),
  lines: fc.array(fc.constantFrom(...lines), { maxLength: 3 }),
  spoils: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, byteChanges(4)),
})

const cases: fc.Arbitrary<Case> = fc.oneof(
  { weight: 80, arbitrary: bodyCases },
  { weight: 19, arbitrary: wireCases },
  { weight: 1, arbitrary: largeCases },
)

/** Who sends what makes no request is hung up on after so long without a word from Relevo, ms. */
const patienceMs = 60

/** The exchange route's bytes: bodies, heads and paths, under a right signature, so that they go deep, and without. */
export const exchangeBytes: TargetKind = {
  name: 'exchange-bytes',
  share: 20,
  leavesAnswers: true,
  reaches: ['200 sealed', '400 sealed', '421 sealed', '432 sealed', '400 wire'],
  environment: { ENRICHMENT_BUDGET_MS: '5000' },
  make: async (world) => makeTarget(world, await world.account()),
}

function makeTarget(world: World, endpoint: Endpoint): Target<Case> {
  return {
    cases,
    run: (one) => (one.kind === 'wire' ? sayWire(world, endpoint, one) : sendBody(world, endpoint, one)),
    stillWorks: () => endpoint.stillWorks(),
    show: (one) =>
      (one.kind === 'wire' ? wireOf(endpoint, one) : bodyOf(one, endpoint.seal(Buffer.from('{}')))).toString('latin1'),
  }
}

async function sendBody({ wire }: World, endpoint: Endpoint, one: BodyCase): Promise<string> {
  const message = messagesOf(newFlowToken())[one.message]
  const sealed = endpoint.seal(Buffer.from(JSON.stringify(message)), one.ivBytes)
  const body = bodyOf(one, sealed)
  const path = one.metaFlowId === null ? endpoint.path : endpoint.path.replace(/data$/, `${one.metaFlowId}/data`)
  const headers = headersOf(endpoint, one.signature, body)
  const request: WireRequest = {
    method: 'POST',
    path,
    headers,
    body,
    ...(one.chunkBytes === null ? {} : { chunkBytes: one.chunkBytes }),
  }
  const [first, ...more] = await Promise.all(Array.from({ length: one.twice ? 2 : 1 }, () => wire.ask(request)))
  if (first === undefined) return 'none'
  const { status } = opened(first, sealed.session)
  const isTooLarge = body.length > 1_048_576
  const may = isTooLarge ? [413] : one.signature === 'right' ? [200, 400, 421] : [432]
  insist(may.includes(status), `${status} for a body of ${body.length} bytes, signature ${one.signature}`)
  for (const again of more) {
    insist(
      again.status === status && again.body.equals(first.body),
      `the repetition of a ${status} is answered otherwise`,
    )
  }
  return `${status} ${one.twice ? 'twice ' : ''}${one.kind}`
}

function bodyOf({ kind, changes, spoils, junk }: BodyCase, { outer, body }: Sealed): Buffer {
  if (kind !== 'sealed') return spoilt(Buffer.from(junk), spoils)
  return spoilt(changes.length === 0 ? body : Buffer.from(changed(outer, changes)), spoils)
}

function headersOf(endpoint: Endpoint, signature: Signature, body: Buffer): [string, string][] {
  const right = endpoint.sign(body)
  const values = { right, wrong: `sha256=${'0'.repeat(64)}`, 'upper case': right.toUpperCase(), long: `${right}0` }
  return signature === 'none' ? [] : [['x-hub-signature-256', values[signature]]]
}

async function sayWire({ wire }: World, endpoint: Endpoint, one: WireCase): Promise<string> {
  const answers = await wire.say(wireOf(endpoint, one), patienceMs)
  const statuses = answers.map(({ status }) => status)
  for (const status of statuses)
    insist(status < 500 && (status >= 400 || status === 200), `${status} for bytes that are no request`)
  return `${statuses.length === 0 ? 'hung up' : statuses.slice(0, 2).join('+')} wire`
}

function wireOf(endpoint: Endpoint, { method, path, version, lines: more, spoils }: WireCase): Buffer {
  const { body } = endpoint.seal(Buffer.from(JSON.stringify({ action: 'ping' })))
  const headers = headersOf(endpoint, 'right', body)
  const whole = bytesOf({ method, path: endpoint.path + path, headers, body }).toString('latin1')
  const lineEnd = whole.indexOf('\r\n')
  const head = `${method} ${endpoint.path}${path}${version === '' ? '' : ` ${version}`}`
  return spoilt(Buffer.from([head, ...more].join('\r\n') + whole.slice(lineEnd), 'latin1'), spoils)
}
