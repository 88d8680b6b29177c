import { randomBytes } from 'node:crypto'
import { exportPrivateKeyPem, generatePrivateKey } from '../../src/crypto/flow-key.ts'
import { type Api, apiOf, text } from '../../src/demo/registration.ts'
import { type RelevoProcess, runRelevo } from '../support/process.ts'
import { pin } from './cores.ts'
import { createWireClient, type WireClient } from './wire-client.ts'

/** One Relevo in a process of its own, kept to core 0. */
export interface Serving {
  readonly relevo: RelevoProcess
  readonly url: string
  /** As the operator. */
  readonly api: Api
  /** The sum of a metric over its labels. */
  metric(name: string): Promise<number>
  /** Tells it to end. Resolves with its exit code. */
  end(): Promise<number | string | null>
}

/** `databaseUrl`: migrated. `environment`: settings besides, and what Node itself reads. */
export async function serve(databaseUrl: string, environment: Record<string, string> = {}): Promise<Serving> {
  const adminToken = randomBytes(24).toString('hex')
  const relevo = runRelevo(['serve'], {
    PORT: '0',
    MASTER_KEY: randomBytes(32).toString('base64'),
    ADMIN_TOKEN: adminToken,
    DATABASE_URL: databaseUrl,
    WEBHOOK_ALLOW_HTTP: 'true',
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
    API_RATE_LIMIT: '100000',
    LOG_LEVEL: 'error',
    ...environment,
  })
  const url = await relevo.listening()
  pin(relevo.pid, 0)
  return {
    relevo,
    url,
    api: apiOf(url, adminToken, new AbortController().signal),
    async metric(name) {
      const ask = async () =>
        (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminToken}` } })).text()
      // A connection that was idle for 75 s, or while there was too much to do, may just be closed.
      const lines = (await ask().catch(ask))
        .split('\n')
        .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
    },
    async end() {
      relevo.child.kill('SIGTERM')
      return relevo.ended()
    },
  }
}

/** A tenant with all it needs, and Meta that calls its endpoint. */
export interface Workspace {
  readonly id: string
  readonly webhookId: string
  readonly api: Api
  readonly meta: WireClient
}

/** So many workspaces, each with a WABA, its app secret and a webhook. They share one flow key: making 100 takes half a minute. */
export async function registerWorkspaces(
  serving: Serving,
  count: number,
  webhook: { readonly url: string; readonly timeoutMs?: number },
): Promise<Workspace[]> {
  const privateKey = exportPrivateKeyPem(await generatePrivateKey())
  const workspaces: Workspace[] = []
  for (let at = 0; at < count; at++) workspaces.push(await registerWorkspace(serving, at, privateKey, webhook))
  return workspaces
}

async function registerWorkspace(
  { url, api: operator }: Serving,
  at: number,
  privateKey: string,
  webhook: { readonly url: string; readonly timeoutMs?: number },
): Promise<Workspace> {
  const id = text(await operator('POST', '/v1/workspaces', { name: `Tenant ${at}` }), 'id')
  const apiKey = await operator('POST', `/v1/workspaces/${id}/api-keys`, { name: 'load' })
  const api = apiOf(url, text(apiKey, 'key'), new AbortController().signal)
  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', {
    wabaId: String(100_000_000_100 + at),
    appSecrets: [appSecret],
    privateKey,
  })
  const events = ['whatsapp.flows.exchanges']
  const made = await api('POST', '/v1/webhooks', { name: 'Backend', events, ...webhook })
  const meta = createWireClient({
    endpointUri: text(waba, 'endpointUri'),
    publicKeyPem: text(waba, 'publicKey'),
    appSecret,
  })
  return { id, webhookId: text(made, 'id'), api, meta }
}
