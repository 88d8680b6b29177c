import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createChildren } from '../src/demo/children.ts'
import { type Api, apiOf, text } from '../src/demo/registration.ts'
import { migrate } from '../src/migrate.ts'
import type { JsonObject } from '../src/simulator/json.ts'
import { writeMessage } from '../src/simulator/message.ts'
import type { MetaClient } from '../src/simulator/meta-client.ts'
import { newFlowToken } from '../src/simulator/simulate.ts'
import { startEmbedded } from '../src/storage/embedded.ts'
import { pin } from '../test/durability/cores.ts'
import { createWireClient } from '../test/durability/wire-client.ts'
import { freshDataDir, removeEmbedded } from '../test/support/embedded.ts'
import { type RelevoProcess, runRelevo } from '../test/support/process.ts'
import { cpuMsOf, residentMiBOf } from './process-cpu.ts'

const root = join(import.meta.dirname, '..')

/** A whole Relevo in a process of its own, on an embedded database, with a tenant that answers at once in another. */
export interface RunningRelevo {
  /** The relay's process. */
  readonly pid: number
  /** Under a workspace's key. */
  readonly api: Api
  /** The database's superuser URL. */
  readonly databaseUrl: string
  /** Exchanges, so many at once; throws when an answer is wrong. Absent: one after the other. `payload`: what each has for data. */
  play(count: number, atOnce?: number, payload?: JsonObject): Promise<void>
  /** CPU of the relay's process so far, user and system, ms. */
  cpuMs(): number
  /** Resident memory of the relay's process, MiB. */
  residentMiB(): number
}

export interface Preparation {
  /** Runs on the empty, migrated database before Relevo loads it. */
  readonly prepare?: (databaseUrl: string) => Promise<void>
  /** Further variables of the relay. */
  readonly environment?: Record<string, string>
  /** What the tenant puts into its answers besides, bytes. */
  readonly answerBytes?: number
}

/** The relay on one core, all else on the other. Returns what was measured. */
export async function withRelevo<T>(
  measure: (relevo: RunningRelevo) => Promise<T>,
  { prepare = async () => {}, environment = {}, answerBytes = 0 }: Preparation = {},
): Promise<T> {
  pin(process.pid, 1)
  const dataDir = await freshDataDir()
  const server = await startEmbedded({ dataDir })
  const children = createChildren(root, new AbortController().signal)
  const adminToken = randomBytes(24).toString('hex')
  const relevo: RelevoProcess[] = []
  try {
    await migrate(server.url)
    await prepare(server.url)
    const settings = {
      PORT: '0',
      DATABASE_URL: server.url,
      MASTER_KEY: randomBytes(32).toString('base64'),
      ADMIN_TOKEN: adminToken,
      WEBHOOK_ALLOW_HTTP: 'true',
      WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
      API_RATE_LIMIT: '100000',
      ...environment,
    }
    const started = runRelevo(['serve'], settings)
    relevo.push(started)
    const url = await started.listening()
    pin(started.pid, 0)
    const tenantUrl = await children.start('tenant', ['test/durability/wire-tenant.ts', String(answerBytes)], {})
    const registered = await register(url, adminToken, tenantUrl)
    return await measure({
      ...registered,
      pid: started.pid,
      databaseUrl: server.url,
      cpuMs: () => cpuMsOf(started.pid),
      residentMiB: () => residentMiBOf(started.pid).now,
    })
  } finally {
    await children.stop()
    for (const { child, ended } of relevo) {
      child.kill('SIGTERM')
      await ended()
    }
    await server.stop()
    await removeEmbedded(dataDir)
  }
}

async function register(
  url: string,
  adminToken: string,
  tenantUrl: string,
): Promise<Pick<RunningRelevo, 'api' | 'play'>> {
  const { signal } = new AbortController()
  const admin = apiOf(url, adminToken, signal)
  const workspace = await admin('POST', '/v1/workspaces', { name: 'Bench' })
  const apiKey = await admin('POST', `/v1/workspaces/${text(workspace, 'id')}/api-keys`, { name: 'bench' })
  const api = apiOf(url, text(apiKey, 'key'), signal)
  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', { wabaId: 'bench', appSecrets: [appSecret] })
  await api('POST', '/v1/webhooks', { name: 'Tenant', url: tenantUrl, events: ['whatsapp.flows.exchanges'] })
  const endpointUri = text(waba, 'endpointUri')
  const meta = createWireClient({ endpointUri, publicKeyPem: text(waba, 'publicKey'), appSecret })
  return { api, play: (count, atOnce = 1, payload) => playExchanges(meta, count, atOnce, payload) }
}

/** The value at a share of the way through sorted values. */
export function at(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}

/** So many exchanges at once, until `count` are done. Throws when an answer is not the tenant's. */
export async function playExchanges(
  meta: MetaClient,
  count: number,
  atOnce: number,
  payload?: JsonObject,
): Promise<void> {
  let left = count
  const one = async () => {
    while (left-- > 0) {
      const { kind, problem } = await meta.exchange(
        writeMessage({ name: 'open', action: 'INIT' }, newFlowToken(), payload),
      )
      if (kind !== 'screen') throw new Error(`an answer was wrong: ${problem ?? kind}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}
