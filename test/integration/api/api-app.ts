import Fastify from 'fastify'
import { FlowKeyMaker } from '../../../src/api/flow-key-maker.ts'
import { FlowKeyReader } from '../../../src/api/flow-key-reader.ts'
import { FlowSyncTurns } from '../../../src/api/flow-sync-turns.ts'
import { type ApiDeps, answerUnroutable, registerApi } from '../../../src/api/plugin.ts'
import { type MasterKeys, readMasterKeys } from '../../../src/crypto/sealed-secret.ts'
import type { Attempt } from '../../../src/delivery/attempt.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import { ringAnew } from '../../../src/events/announcement.ts'
import { Queue } from '../../../src/events/queue.ts'
import { Uploads } from '../../../src/ops/uploads.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { createTestDatabase } from '../../support/database.ts'
import { graphAway } from '../../support/graph-client.ts'
import { expectDocumented } from './documented.ts'

export const adminToken = 'test-operator-token-0123456789abcdef'
export const publicUrl = 'https://relevo.test'

// biome-ignore lint/suspicious/noExplicitAny: tests read answers member by member and compare what they find.
export type Json = any

export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly body: Json
}

export interface ApiRequest {
  readonly token?: string | undefined
  readonly body?: unknown
  /** Sent as it is in place of `body`. */
  readonly raw?: string | Uint8Array<ArrayBuffer>
  readonly headers?: Readonly<Record<string, string>>
}

/** A workspace with a key of both scopes. */
export interface TestWorkspace {
  readonly id: WorkspaceId
  readonly apiKey: string
  get(path: string): Promise<ApiAnswer>
  post(path: string, body: unknown): Promise<ApiAnswer>
  patch(path: string, body: unknown): Promise<ApiAnswer>
  remove(path: string): Promise<ApiAnswer>
  /** Like post, for what must be made: the body of the 201. */
  make(path: string, body: unknown): Promise<Json>
}

export interface TestApi {
  readonly database: Database
  readonly masterKeys: MasterKeys
  /** The workspaces of which relays were told that something changed, in order. */
  readonly changed: readonly WorkspaceId[]
  readonly reported: readonly { readonly error: unknown; readonly route: string }[]
  call(method: string, path: string, request?: ApiRequest): Promise<ApiAnswer>
  makeWorkspace(): Promise<TestWorkspace>
  makeApiKey(workspaceId: string, scopes: readonly string[]): Promise<string>
  close(): Promise<void>
}

/** What came of a request to a webhook that answers well. */
export const goodAttempt: Attempt = {
  status: 200,
  failure: null,
  fault: null,
  body: Buffer.from('{"data":{}}'),
  headers: { 'content-type': 'application/json' },
  received: Buffer.from('{"data":{}}'),
  contentType: 'application/json',
  retryAfter: null,
  durationMs: 12.5,
  connectMs: 1,
  headMs: 12,
  bytes: 11,
}

/** The API alone, on a socket, on a database of its own. */
export async function startApi(overrides: Partial<ApiDeps> = {}): Promise<TestApi> {
  const testDatabase = await createTestDatabase()
  const database = openDatabase(testDatabase.settings)
  const api = await listen({ database, ...overrides })
  const close = async () => {
    await api.close()
    await database.close()
    await testDatabase.drop()
  }
  return { ...api, close }
}

/** The API alone, on a socket, on the database it is given. */
export async function listen(overrides: Partial<ApiDeps> & Pick<ApiDeps, 'database'>): Promise<TestApi> {
  const masterKeys = readMasterKeys(Buffer.alloc(32, 7).toString('base64'))
  const changed: WorkspaceId[] = []
  const reported: { error: unknown; route: string }[] = []
  const queue = new Queue(overrides.database)
  const app = Fastify({ frameworkErrors: answerUnroutable })
  await registerApi(app, {
    adminToken,
    masterKeys,
    flowKeyReader: new FlowKeyReader(),
    flowKeyMaker: new FlowKeyMaker(),
    graph: graphAway,
    flowSyncTurns: new FlowSyncTurns(),
    uploads: new Uploads(),
    attempt: async () => goodAttempt,
    deadlineMs: 700,
    userAgent: 'Platica-Webhooks/1.0',
    requestsPerSecond: 100_000,
    refusalOfUrl: (url) => (url.startsWith('https:') ? null : 'must be https'),
    publicUrl: () => publicUrl,
    configChanged: async (workspaceId) => void changed.push(workspaceId),
    ringAnew: (tx, deliveries) => ringAnew(queue, tx, deliveries),
    deliveriesAreDue: () => {},
    reportError: (error, route) => void reported.push({ error, route }),
    ...overrides,
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const call: TestApi['call'] = async (method, path, request = {}) => {
    const answer = await send(url + path, method, request)
    expectDocumented(method, path, answer)
    return answer
  }
  const makeApiKey: TestApi['makeApiKey'] = async (workspaceId, scopes) => {
    const body = { name: 'test', scopes }
    return (await call('POST', `/v1/workspaces/${workspaceId}/api-keys`, { token: adminToken, body })).body.key
  }
  const makeWorkspace = async (): Promise<TestWorkspace> => {
    const { body } = await call('POST', '/v1/workspaces', { token: adminToken, body: { name: 'test' } })
    const apiKey = await makeApiKey(body.id, ['read', 'write'])
    return asWorkspace(call, body.id, apiKey)
  }
  return {
    database: overrides.database,
    masterKeys,
    changed,
    reported,
    call,
    makeApiKey,
    makeWorkspace,
    close: async () => {
      await app.close()
      await queue.close()
    },
  }
}

function asWorkspace(call: TestApi['call'], id: WorkspaceId, apiKey: string): TestWorkspace {
  const post: TestWorkspace['post'] = (path, body) => call('POST', path, { token: apiKey, body })
  const make: TestWorkspace['make'] = async (path, body) => {
    const answer = await post(path, body)
    if (answer.status !== 201) throw new Error(`POST ${path} answered ${answer.status}: ${answer.text}`)
    return answer.body
  }
  return {
    id,
    apiKey,
    post,
    make,
    get: (path) => call('GET', path, { token: apiKey }),
    patch: (path, body) => call('PATCH', path, { token: apiKey, body }),
    remove: (path) => call('DELETE', path, { token: apiKey }),
  }
}

async function send(url: string, method: string, { token, body, raw, headers }: ApiRequest): Promise<ApiAnswer> {
  const payload = raw ?? (body === undefined ? null : JSON.stringify(body))
  const response = await fetch(url, {
    method,
    body: payload,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(payload === null ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.includes('json') && text !== ''
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined }
}
