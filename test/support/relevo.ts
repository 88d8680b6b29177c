import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type App, type AppConfig, createApp } from '../../src/app.ts'
import { readConfig } from '../../src/config.ts'
import type { ServerBounds } from '../../src/server.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'
import { eventually } from './eventually.ts'
import { type FakeMeta, fakeMeta } from './meta.ts'

export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into bodies of many shapes
  readonly body: any
}

/** A Relevo as app.ts builds it, on a real port and a database of its own. */
export interface TestRelevo {
  readonly url: string
  readonly config: AppConfig
  readonly database: GivenDatabase
  /** Every line it logged, parsed. */
  readonly logs: readonly Record<string, unknown>[]
  /** As the operator, or with another token; `workspaceId` goes into X-Workspace-Id. */
  api(method: string, path: string, options?: ApiOptions): Promise<ApiAnswer>
  /** The exchanges of a WABA's workspace once `count` rows are closed, oldest first. */
  exchanges(account: TestAccount, count: number, timeoutMs?: number): Promise<ApiAnswer['body'][]>
  /** Ends the app; the database and its folder stay. */
  stop(): Promise<void>
  close(): Promise<void>
}

export interface ApiOptions {
  readonly body?: unknown
  readonly token?: string
  readonly workspaceId?: string
  readonly headers?: Record<string, string>
}

/** A workspace with a key, a WABA that Meta can call, and what was asked for besides. */
export interface TestAccount {
  readonly workspaceId: string
  readonly token: string
  readonly wabaId: string
  readonly endpointUri: string
  readonly publicKey: string
  readonly appSecret: string
  readonly meta: FakeMeta
}

const testDefaults = {
  PORT: '0',
  LOG_LEVEL: 'debug',
  // Nobody listens there: a test that calls Graph starts one of its own.
  GRAPH_API_URL: 'http://127.0.0.1:1',
  WEBHOOK_ALLOW_HTTP: 'true',
  WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8,::1/128',
  API_RATE_LIMIT: '100000',
  ADMIN_TOKEN: `admin-${randomBytes(24).toString('hex')}`,
}

/** One that a test found elsewhere has no settings but its URL. */
type GivenDatabase = Omit<TestDatabase, 'settings'> & Partial<Pick<TestDatabase, 'settings'>>

export interface RelevoOptions {
  readonly webhookCa?: string
  readonly database?: GivenDatabase
  readonly bounds?: Partial<ServerBounds>
  /** Gets each line as it is written; `logs` stays empty then. */
  readonly onLogLine?: (line: string) => void
}

/** `environment`: settings as they would stand in the environment. */
export async function startRelevo(
  environment: Record<string, string> = {},
  options: RelevoOptions = {},
): Promise<TestRelevo> {
  const database = options.database ?? (await createTestDatabase())
  const MASTER_KEY = randomBytes(32).toString('base64')
  const dataDir = environment.DATA_DIR ?? (await mkdtemp(join(tmpdir(), 'relevo-data-')))
  const { url: databaseUrl } = database
  // A test that has Relevo go another way, through a proxy of its own, goes through no pooler.
  const isPooled = database.settings?.directUrl === databaseUrl
  const settings = isPooled ? database.settings : { url: databaseUrl, directUrl: undefined, prepare: true }
  const databaseSettings = {
    DATABASE_URL: settings.url,
    DATABASE_DIRECT_URL: settings.directUrl,
    DATABASE_PREPARE: String(settings.prepare),
  }
  const given = { ...testDefaults, MASTER_KEY, ...databaseSettings, ...environment, DATA_DIR: dataDir }
  const config = readConfig(given) as AppConfig
  const logs: Record<string, unknown>[] = []
  const { webhookCa, bounds = {}, onLogLine = (line: string) => void logs.push(JSON.parse(line)) } = options
  const logDestination = { write: onLogLine }
  const app = createApp(config, { logDestination, bounds, ...(webhookCa === undefined ? {} : { webhookCa }) })
  const url = await app.listen()
  const relevo: TestRelevo = {
    url,
    config,
    database,
    logs,
    api: (method, path, apiOptions) => callApi(url, config.ADMIN_TOKEN, method, path, apiOptions),
    exchanges: (account, count, timeoutMs) => closedExchanges(relevo, account, count, timeoutMs),
    stop: async () => void (await app.close()),
    close: async () => {
      await closeAll(app, options.database === undefined ? database : null)
      if (environment.DATA_DIR === undefined) await rm(dataDir, { recursive: true, force: true })
    },
  }
  return relevo
}

async function closeAll(app: App, database: GivenDatabase | null): Promise<void> {
  await app.close()
  await database?.drop()
}

async function callApi(
  url: string,
  adminToken: string,
  method: string,
  path: string,
  { body, token = adminToken, workspaceId, headers: more = {} }: ApiOptions = {},
): Promise<ApiAnswer> {
  const headers: Record<string, string> = { ...more, authorization: `Bearer ${token}` }
  if (workspaceId !== undefined) headers['x-workspace-id'] = workspaceId
  if (body !== undefined) headers['content-type'] = 'application/json'
  const response = await fetch(url + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
}

/** Posts and expects 201 (or 200, for an upsert). */
export async function create(
  relevo: TestRelevo,
  path: string,
  body: unknown,
  token?: string,
): Promise<ApiAnswer['body']> {
  const answer = await relevo.api('POST', path, { body, ...(token === undefined ? {} : { token }) })
  if (answer.status !== 201 && answer.status !== 200) {
    throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  }
  return answer.body
}

let accounts = 0

export async function createAccount(relevo: TestRelevo, waba: Record<string, unknown> = {}): Promise<TestAccount> {
  const workspace = await create(relevo, '/v1/workspaces', { name: 'A tenant' })
  const { key: token } = await create(relevo, `/v1/workspaces/${workspace.id}/api-keys`, { name: 'test' })
  const appSecret = randomBytes(16).toString('hex')
  const wabaId = String(100_000_000_000 + ++accounts)
  const made = await create(relevo, '/v1/wabas', { wabaId, appSecrets: [appSecret], ...waba }, token)
  const { publicKey } = made
  // PUBLIC_URL need not be reachable in a test; the route is.
  const endpointUri = `${relevo.url}/api/whatsapp/flows/${made.wabaId}/data`
  const meta = fakeMeta({ endpointUri, publicKey, appSecret })
  return { workspaceId: workspace.id, token, wabaId: made.wabaId, endpointUri, publicKey, appSecret, meta }
}

/** A webhook for all exchanges, with more or other members. Returns the API's answer, its secret included. */
export function createWebhook(
  relevo: TestRelevo,
  account: TestAccount,
  url: string,
  more: Record<string, unknown> = {},
): Promise<ApiAnswer['body']> {
  const body = { name: 'Backend', url, events: ['whatsapp.flows.exchanges'], ...more }
  return create(relevo, '/v1/webhooks', body, account.token)
}

function closedExchanges(
  relevo: TestRelevo,
  account: TestAccount,
  count: number,
  timeoutMs = 5000,
): Promise<ApiAnswer['body'][]> {
  return eventually(
    async () => {
      const { body } = await relevo.api('GET', '/v1/exchanges?limit=100', { token: account.token })
      const rows = body.data.toReversed()
      if (rows.length > count) throw new Error(`expected ${count} exchanges, found ${rows.length}`)
      return rows.length === count && rows.every((row: { outcome: unknown }) => row.outcome !== null) ? rows : null
    },
    { timeoutMs },
  )
}
