import fc from 'fast-check'
import { eventSchemas } from '../../src/domain/event-schemas.ts'
import { type ByteChange, byteChanges, spoilt } from './hostile-bytes.ts'
import { changed, hostileValue, type JsonChange, jsonChanges } from './hostile-json.ts'
import { messageNames, messagesOf, newFlowToken } from './messages.ts'
import type { ReceivedCall } from './scripted-tenant.ts'
import { Finding, insist, type Target, type TargetKind } from './target.ts'
import { isObject, parsed, type World } from './world.ts'

interface Case {
  readonly account: number
  /** Null: `junk` alone. */
  readonly message: string | null
  readonly changes: readonly JsonChange[]
  readonly spoils: readonly ByteChange[]
  readonly junk: string | Uint8Array
}

const message = { account: fc.nat(2), message: fc.constantFrom(...messageNames), junk: fc.constant('') }
const noSpoils = fc.constant<ByteChange[]>([])
const cases: fc.Arbitrary<Case> = fc.oneof(
  { weight: 7, arbitrary: fc.record({ ...message, changes: jsonChanges(4), spoils: noSpoils }) },
  { weight: 2, arbitrary: fc.record({ ...message, changes: jsonChanges(2), spoils: byteChanges(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      account: fc.nat(2),
      message: fc.constant(null),
      changes: fc.constant([]),
      spoils: byteChanges(2),
      junk: fc.oneof(hostileValue, fc.uint8Array({ maxLength: 200 })),
    }),
  },
)

/** Decrypted plaintext: whatever an app on a phone can have sealed and Meta signed. */
export const plaintext: TargetKind = {
  name: 'plaintext',
  share: 25,
  leavesAnswers: true,
  reaches: ['200 exchange', '200 ping', '200 too deep', '427 exchange', '421 refused'],
  environment: { ENRICHMENT_BUDGET_MS: '5000' },
  make: async (world) => makeTarget(world),
}

/** Of exchanges too: not asked, for the webhook that is was made before. */
const told = ['whatsapp.flows.error', 'whatsapp.flows.fallback', 'whatsapp.flows.exchanges']

async function makeTarget(world: World): Promise<Target<Case>> {
  const observer = { name: 'Told', url: `${world.tenant.url}/told`, events: told }
  const endpoints = [
    await world.account(),
    await world.account({ format: 'plain', fallback: { mode: 'last_good' } }),
    await world.account({ fallback: { mode: 'stay', errorMessage: 'Again, please' } }, { requireTokenSignature: true }),
  ]
  for (const { token } of endpoints) await world.relevo.api('POST', '/v1/webhooks', { body: observer, token })
  world.onCall = judgeCall
  return {
    cases,
    async run(one) {
      const endpoint = endpoints[one.account] ?? endpoints[0]
      if (endpoint === undefined) throw new Finding('no endpoint')
      const bytes = bytesOf(one)
      const { status, answer } = await endpoint.call(bytes)
      const expected = expectedOf(bytes)
      const may = expected === 'refused' ? [421] : expected === 'exchange' && one.account === 2 ? [200, 427] : [200]
      insist(may.includes(status), `${status} for ${expected}, not ${may}`)
      if (expected === 'ping')
        insist(JSON.stringify(answer) === '{"data":{"status":"active"}}', 'a ping is answered otherwise')
      if (expected === 'too deep') insist(answer.data?.acknowledged === true, 'too deep, and answered otherwise')
      if (status === 427) insist(typeof answer.error_msg === 'string', 'a 427 without error_msg')
      return `${status} ${expected}`
    },
    stillWorks: async () => void (await Promise.all(endpoints.slice(0, 2).map((endpoint) => endpoint.stillWorks()))),
    show: (one) => bytesOf(one).toString('latin1'),
  }
}

function bytesOf({ message: name, changes, spoils, junk }: Case): Buffer {
  const text = name === null ? Buffer.from(junk) : Buffer.from(changed(messagesOf(newFlowToken())[name], changes))
  return spoilt(text, spoils)
}

/** By contract.md §3, in other words than Relevo's. */
function expectedOf(bytes: Buffer): 'refused' | 'too deep' | 'ping' | 'exchange' {
  // A byte order mark is text to this decoder, and no JSON.
  const text = bytes.toString('utf8')
  if (!Buffer.from(text).equals(bytes)) return 'refused'
  const value = parsed(text)
  if (!isObject(value)) return 'refused'
  if (depthOf(text) > 200) return 'too deep'
  return value.action === 'ping' ? 'ping' : 'exchange'
}

/** Of valid JSON. */
export function depthOf(json: string): number {
  let [depth, deepest] = [0, 0]
  for (const bracket of json.replaceAll(/"(?:[^"\\]|\\.)*"/gs, '').replaceAll(/[^[\]{}]/g, '')) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1
    deepest = Math.max(deepest, depth)
  }
  return deepest
}

/** Every envelope fits the schema that tenants are shown; Meta's plain body is an object. */
export function judgeCall({ headers, body }: ReceivedCall): void {
  insist(!('x-injected' in headers), 'a header that was in a payload')
  const value = parsed(body.toString())
  insist(isObject(value), 'a body that is no JSON object')
  const event = headers['x-webhook-event'] as keyof typeof eventSchemas
  if (typeof value.workspaceId !== 'string' || value.source !== 'whatsapp.flows') return
  const fits = eventSchemas[event]?.safeParse(value)
  insist(fits !== undefined, `the event ${event}`)
  insist(fits.success, `an envelope of ${event} that does not fit: ${fits.error?.issues[0]?.path.join('.')}`)
}
