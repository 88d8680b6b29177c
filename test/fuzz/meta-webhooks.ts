import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { bodyOf, entryOf, flowChange, messageChange, nfmReply } from '../support/meta-webhook.ts'
import { create } from '../support/relevo.ts'
import { type ByteChange, byteChanges, spoilt } from './hostile-bytes.ts'
import { changed, hostileText, hostileValue, type JsonChange, jsonChanges } from './hostile-json.ts'
import { judgeCall } from './plaintext.ts'
import { insist, isStalled, type Target, type TargetKind } from './target.ts'
import { canary, type Endpoint, type World } from './world.ts'

const vector = JSON.parse(readFileSync(new URL('../vectors/nfm-reply-pywa.json', import.meta.url), 'utf8')).updates
const wabaId = vector.completion.entry[0].id as string
const phoneNumberId = vector.completion.entry[0].changes[0].value.metadata.phone_number_id as string
const metaFlowId = '300000000000001'
const platformSecret = 'a-platform-app-secret'
const verifyToken = 'a-verify-token-of-the-platform'

type Signature = 'waba' | 'platform' | 'none' | 'wrong'

interface PostCase {
  readonly kind: 'post'
  /** Null: `junk` alone. */
  readonly base: number | null
  readonly changes: readonly JsonChange[]
  readonly spoils: readonly ByteChange[]
  readonly junk: string | Uint8Array
  readonly signature: Signature
  readonly toOwnRoute: boolean
  /** Sent twice at once. */
  readonly twice: boolean
}

interface GetCase {
  readonly kind: 'get'
  readonly toOwnRoute: boolean
  readonly query: readonly (readonly [string, string])[]
}

type Case = PostCase | GetCase

const status = (from: string | undefined, to: string) => ({
  event: 'FLOW_STATUS_CHANGE',
  message: 'm',
  flow_id: metaFlowId,
  old_status: from,
  new_status: to,
})
const alert = {
  event: 'ENDPOINT_LATENCY',
  flow_id: metaFlowId,
  p50_latency: 500,
  p90_latency: 1100,
  requests_count: 1000,
  threshold: 1000,
  alert_state: 'ACTIVATED',
}
const about = { from: canary.phoneDigits, name: canary.payload, phoneNumberId }
const token = `${canary.flowToken}-known`

/** What Meta delivers (protocol.md 5): messages, completed forms, states of messages, notices of flows, and fields that nobody asked for. */
const bodies: readonly object[] = [
  vector.completion,
  vector.without_flow_token,
  bodyOf(entryOf(wabaId, messageChange({ ...about, id: 'wamid.FUZZ' }))),
  bodyOf(
    entryOf(
      wabaId,
      nfmReply({ ...about, id: 'wamid.FUZZ2', contextId: 'wamid.SENT', response: { flow_token: token, choice: 'p2' } }),
    ),
  ),
  bodyOf(
    entryOf(
      wabaId,
      nfmReply({ ...about, id: 'wamid.FUZZ3', response: { flow_token: token, note: canary.payload } }),
      messageChange(about),
    ),
  ),
  bodyOf(entryOf(wabaId, flowChange(status('DRAFT', 'PUBLISHED')))),
  bodyOf(
    entryOf(
      wabaId,
      flowChange(status(undefined, 'DRAFT')),
      flowChange({ ...alert, errors: [{ error_type: 'x', error_count: 2 }] }),
    ),
  ),
  bodyOf(
    entryOf(wabaId, flowChange({ event: 'FLOW_VERSION_EXPIRY_WARNING', flow_id: metaFlowId, warning: 'w' })),
    entryOf('1', messageChange()),
  ),
  bodyOf(
    entryOf(wabaId, {
      field: 'messages',
      value: {
        metadata: { phone_number_id: phoneNumberId },
        statuses: [{ id: 'wamid.S', status: 'read', timestamp: '1790000000', recipient_id: canary.phoneDigits }],
      },
    }),
  ),
  bodyOf(entryOf(wabaId, { field: 'account_update', value: { event: 'VERIFIED_ACCOUNT' } })),
]

const webhookValues = [
  wabaId,
  '1',
  metaFlowId,
  'wamid.SENT',
  token,
  '{"flow_token":',
  '{"flow_token":"\\u0000"}',
  '9'.repeat(15),
  'messages',
  'flows',
].map((text) => JSON.stringify(text))
const post = {
  kind: fc.constant('post' as const),
  signature: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Signature>('waba') },
    { weight: 3, arbitrary: fc.constant<Signature>('platform') },
    fc.constantFrom<Signature[]>('none', 'wrong'),
  ),
  toOwnRoute: fc.boolean(),
  twice: fc.integer({ min: 0, max: 9 }).map((roll) => roll === 9),
  junk: fc.constant(''),
}
const base = fc.nat(bodies.length - 1)
const queryName = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('hub.mode', 'hub.verify_token', 'hub.challenge') },
  fc.constantFrom('hub', '__proto__', 'hub.challenge[]', ''),
)
const queryValue = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('subscribe', verifyToken, '1158201444') },
  hostileText(30),
  fc.constantFrom('<script>', 'x'.repeat(5000), '%ff', '\r\nx: 1'),
)
const others = fc.array(fc.tuple(queryName, queryValue), { maxLength: 4 })
/** The right three, with any challenge, and some more; or any. */
const queries = fc.oneof(
  fc
    .tuple(queryValue, fc.array(fc.tuple(queryName, queryValue), { maxLength: 1 }))
    .map(([challenge, more]) => [
      ...[['hub.mode', 'subscribe'] as const, ['hub.verify_token', verifyToken] as const],
      ...[['hub.challenge', challenge] as const, ...more],
    ]),
  others,
)
const cases: fc.Arbitrary<Case> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ ...post, base, changes: jsonChanges(5, webhookValues), spoils: fc.constant([]) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ ...post, base, changes: jsonChanges(2, webhookValues), spoils: byteChanges(3) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      ...post,
      base: fc.constant(null),
      changes: fc.constant([]),
      spoils: byteChanges(2),
      junk: fc.oneof(hostileValue, fc.uint8Array({ maxLength: 200 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('get' as const),
      toOwnRoute: fc.boolean(),
      query: queries,
    }),
  },
)

/** Meta's webhooks, of the platform's app and of a tenant's: bodies rightly signed, so that they are applied, and others. */
export const metaWebhooks: TargetKind = {
  name: 'meta-webhooks',
  share: 15,
  leavesAnswers: false,
  reaches: ['200 waba', '200 platform', '400 waba', '401 wrong', '200 verification'],
  environment: { META_APP_SECRETS: platformSecret, META_VERIFY_TOKEN: verifyToken },
  make: async (world) => makeTarget(world),
}

async function makeTarget(world: World): Promise<Target<Case>> {
  const endpoint = await world.account({}, { wabaId, verifyToken })
  const { relevo, tenant, wire, watch } = world
  watch.keepSecret({ platformSecret, verifyToken })
  const events = ['completed', 'status_changed', 'alert'].map((event) => `whatsapp.flows.${event}`)
  await create(relevo, '/v1/webhooks', { name: 'Told', url: `${tenant.url}/told`, events }, endpoint.token)
  await create(relevo, '/v1/channels', { wabaId, phoneNumberId, phoneNumber: '+15550953877' }, endpoint.token)
  await create(relevo, '/v1/flows', { wabaId, metaFlowId, name: 'Offer' }, endpoint.token)
  await create(
    relevo,
    '/v1/flow-responses',
    { flowToken: token, phoneNumber: `+${canary.phoneDigits}`, messageId: 'wamid.SENT' },
    endpoint.token,
  )
  // The platform's app speaks for verified WABAs only.
  const verified = await relevo.api('PATCH', `/v1/wabas/${wabaId}`, {
    body: { verification: 'verified' },
    workspaceId: endpoint.workspaceId,
  })
  insist(verified.status === 200, 'the WABA cannot be verified')
  world.onCall = judgeCall
  const pathFor = ({ toOwnRoute }: Case) => `/api/whatsapp/webhook${toOwnRoute ? `/${wabaId}` : ''}`
  return {
    cases,
    async run(one) {
      if (one.kind === 'get') return await verify(world, pathFor(one), one)
      const body = bytesOf(one)
      const headers = signatureOf(endpoint, one.signature, body)
      const send = () => wire.ask({ method: 'POST', path: pathFor(one), headers, body })
      const startedAt = performance.now()
      const answers = await Promise.all(one.twice ? [send(), send()] : [send()])
      const isSigned = one.signature === 'waba' || one.signature === 'platform'
      for (const { status, body: said } of answers) {
        if (isStalled(status, startedAt)) return 'stalled'
        const may = body.length > 3 * 1024 * 1024 ? [413] : isSigned ? [200, 400, 401] : [401]
        insist(may.includes(status), `${status} for a body signed by ${one.signature}`)
        insist(said.length === 0, `a ${status} with a body`)
      }
      return `${answers[0]?.status} ${one.signature}`
    },
    stillWorks: () => endpoint.stillWorks(),
    show: (one) => (one.kind === 'get' ? `${pathFor(one)}${searchOf(one)}` : bytesOf(one).toString('latin1')),
  }
}

function bytesOf({ base: index, changes, spoils, junk }: PostCase): Buffer {
  return spoilt(index === null ? Buffer.from(junk) : Buffer.from(changed(bodies[index], changes)), spoils)
}

function signatureOf(endpoint: Endpoint, signature: Signature, body: Buffer): [string, string][] {
  if (signature === 'none') return []
  const ofPlatform = `sha256=${createHmac('sha256', platformSecret).update(body).digest('hex')}`
  const values = { waba: endpoint.sign(body), platform: ofPlatform, wrong: `sha256=${'0'.repeat(64)}` }
  return [['x-hub-signature-256', values[signature]]]
}

const searchOf = ({ query }: GetCase) =>
  `?${new URLSearchParams(query.map(([name, value]): [string, string] => [name, value]))}`

async function verify({ wire }: World, path: string, one: GetCase): Promise<string> {
  const { status, body, headers } = await wire.ask({ method: 'GET', path: path + searchOf(one), headers: [] })
  const [challenge, ...more] = one.query.filter(([name]) => name === 'hub.challenge').map(([, value]) => value)
  insist(status === 200 || status === 403, `${status} for a verification`)
  if (status === 403) insist(body.length === 0, 'a 403 with a body')
  else {
    insist(more.length === 0 && body.toString() === challenge?.toWellFormed(), 'a challenge that is not what was sent')
    insist(
      body.length === 0 || headers['content-type'] === 'text/plain; charset=utf-8',
      'a challenge that may be taken for a page',
    )
  }
  return `${status} verification`
}
