import { createHmac, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { openAnswer, readPublicKey, type SessionKey, sealBytes, wrapKey, writeOuter } from '../../src/simulator/seal.ts'
import type { TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { type FakeGraph, startGraph } from '../support/graph.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type ReceivedCall, type ScriptedTenant, startScriptedTenant } from './scripted-tenant.ts'
import { Finding, insist } from './target.ts'
import { Watch } from './watch.ts'
import { Wire, type WireAnswer } from './wire.ts'

/** A Relevo of its own for one target: as app.ts makes it, on a real database and real sockets, with a tenant and a watch on its log. */
export interface World {
  readonly relevo: TestRelevo
  readonly wire: Wire
  readonly watch: Watch
  readonly tenant: ScriptedTenant
  /** Meta's Graph, which knows every id. */
  readonly graph: FakeGraph
  readonly sql: postgres.Sql
  /** Called with what a webhook receives; what it throws is a finding. */
  onCall: (call: ReceivedCall) => void
  /** A workspace whose exchanges the tenant answers, however busy the machine is; `more`: members of the webhook. */
  account(more?: Record<string, unknown>, waba?: Record<string, unknown>): Promise<Endpoint>
  /** Waits until every exchange's row is closed. Throws a Finding. */
  settle(): Promise<void>
  /** Throws a Finding if rows were lost. */
  close(): Promise<void>
  readonly findings: string[]
}

/** In what every case sends: must come back in no log line. */
export const canary = { payload: 'c4n4ry-p4yl0ad', flowToken: 'c4n4ry-t0k3n', phoneDigits: '5219990001234' }

/** For every WABA: to make one takes longer than a hundred cases. */
export const privateKey = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()

export async function openWorld(
  database: TestDatabase,
  environment: Readonly<Record<string, string>> = {},
): Promise<World> {
  const watch = new Watch()
  const graph = await startGraph({ knowsEveryId: true })
  const relevo = await startRelevo({ GRAPH_API_URL: graph.url, ...environment }, { database, onLogLine: watch.line })
  const wire = new Wire(relevo.url)
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined })
  const calls = new Set<string>()
  const tenant = await startScriptedTenant((call) => {
    try {
      world.onCall(call)
    } catch (error) {
      if (calls.size < 5) calls.add(`a webhook received: ${error instanceof Error ? error.message : error}`)
    }
  })
  const world: World = {
    relevo,
    wire,
    watch,
    tenant,
    graph,
    sql,
    onCall: () => undefined,
    async account(more = {}, waba = {}) {
      const account = await createAccount(relevo, { privateKey, ...waba })
      const { secret } = await createWebhook(relevo, account, `${tenant.url}/hook`, { timeoutMs: 8000, ...more })
      watch.keepSecret({
        ...canary,
        adminToken: relevo.config.ADMIN_TOKEN,
        apiKey: account.token,
        appSecret: account.appSecret,
        webhookSecret: secret,
      })
      return endpointOf(account, wire)
    },
    async settle() {
      const open = async () => Number((await sql`select count(*) from exchanges where outcome is null`)[0]?.count)
      await eventually(async () => (await open()) === 0, { timeoutMs: 20_000, everyMs: 50 }).catch(() => {
        throw new Finding('rows of exchanges stay open')
      })
    },
    async close() {
      wire.close()
      await sql.end({ timeout: 1 })
      await relevo.close()
      await tenant.close()
      await graph.close()
    },
    get findings() {
      return [...watch.findings, ...calls]
    },
  }
  return world
}

/** One WABA as Meta sees it. */
export interface Endpoint extends TestAccount {
  /** Of the exchange route. */
  readonly path: string
  sign(body: Uint8Array): string
  seal(plaintext: Uint8Array, ivBytes?: number): Sealed
  /** Sends a plaintext as Meta would. */
  call(plaintext: Uint8Array): Promise<Opened>
  /** Throws a Finding unless an exchange is answered with the tenant's reply. */
  stillWorks(): Promise<void>
}

export interface Sealed {
  readonly outer: Record<'encrypted_flow_data' | 'encrypted_aes_key' | 'initial_vector', string>
  readonly body: Buffer
  readonly session: SessionKey
}

export interface Opened {
  readonly status: number
  /** What the answer holds; null for an empty body. */
  // biome-ignore lint/suspicious/noExplicitAny: answers have many shapes
  readonly answer: any
  readonly text: string | null
}

function endpointOf(account: TestAccount, wire: Wire): Endpoint {
  const publicKey: KeyObject = readPublicKey(account.publicKey)
  const path = new URL(account.endpointUri).pathname
  const endpoint: Endpoint = {
    ...account,
    path,
    sign: (body) => `sha256=${createHmac('sha256', account.appSecret).update(body).digest('hex')}`,
    seal(plaintext, ivBytes = 16) {
      const session = { aesKey: randomBytes(16), iv: randomBytes(ivBytes) }
      const outer = {
        encrypted_flow_data: sealBytes(plaintext, session).toString('base64'),
        encrypted_aes_key: wrapKey(session.aesKey, publicKey).toString('base64'),
        initial_vector: session.iv.toString('base64'),
      }
      return { outer, body: Buffer.from(writeOuter(outer)), session }
    },
    async call(plaintext) {
      const { body, session } = endpoint.seal(plaintext)
      const headers = [
        ['content-type', 'application/json'],
        ['x-hub-signature-256', endpoint.sign(body)],
      ] as const
      return opened(await wire.ask({ method: 'POST', path, headers, body }), session)
    },
    async stillWorks() {
      const message = {
        data: {},
        flow_token: `still-works-${randomBytes(6).toString('hex')}`,
        screen: '',
        action: 'INIT',
        version: '3.0',
      }
      const { status, text } = await endpoint.call(Buffer.from(JSON.stringify(message)))
      insist(
        status === 200 && text === '{"screen":"NEXT","data":{}}',
        `a normal exchange afterwards is answered with ${status} ${text}`,
      )
    },
  }
  return endpoint
}

/** Throws a Finding for a 200 or 427 that does not open to a JSON object, and for another status that says something. */
export function opened({ status, headers, body }: WireAnswer, session: SessionKey): Opened {
  if (status !== 200 && status !== 427) {
    insist(body.length === 0, `a ${status} with a body`)
    return { status, answer: null, text: null }
  }
  insist(headers['content-type'] === 'text/plain; charset=utf-8', `content type ${headers['content-type']}`)
  const result = openAnswer(body.toString('latin1'), session)
  if (!result.ok) throw new Finding(`a ${status} that does not open: ${result.problem}`)
  const answer = parsed(result.text)
  insist(isObject(answer), `a ${status} that holds no JSON object`)
  return { status, answer, text: result.text }
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
