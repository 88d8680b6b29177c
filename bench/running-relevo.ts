import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createChildren } from '../src/demo/children.ts'
import { type Api, apiOf, text } from '../src/demo/registration.ts'
import { migrate } from '../src/migrate.ts'
import { writeMessage } from '../src/simulator/message.ts'
import { createMetaClient, type MetaClient } from '../src/simulator/meta-client.ts'
import { newFlowToken } from '../src/simulator/simulate.ts'
import { startEmbedded } from '../src/storage/embedded.ts'
import { pin } from '../test/durability/cores.ts'
import { freshDataDir, removeEmbedded } from '../test/support/embedded.ts'
import { type RelevoProcess, runRelevo } from '../test/support/process.ts'

const root = join(import.meta.dirname, '..')

/** A whole Relevo in a process of its own, on an embedded database, with a tenant that answers at once in another. */
export interface RunningRelevo {
  /** The relay's process. */
  readonly pid: number
  /** Under a workspace's key. */
  readonly api: Api
  /** The database's superuser URL. */
  readonly databaseUrl: string
  /** Exchanges, so many at once; throws when an answer is wrong. Absent: one after the other. */
  play(count: number, atOnce?: number): Promise<void>
  /** One value of the relay's /metrics. */
  metric(name: string): Promise<number>
  /** CPU of the relay's process so far, user and system, ms. */
  cpuMs(): Promise<number>
  /** Resident memory of the relay's process, MiB. */
  residentMiB(): Promise<number>
}

/**
 * The relay on one core, all else on the other. `prepare` runs on the empty, migrated database before Relevo loads it; `environment`: further
 * variables of the relay.
 */
export async function withRelevo(
  measure: (relevo: RunningRelevo) => Promise<void>,
  prepare: (databaseUrl: string) => Promise<void> = async () => {},
  environment: Record<string, string> = {},
): Promise<void> {
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
    const tenantUrl = await children.start('tenant', ['bench/tenant.ts'], {})
    await measure({ pid: started.pid, ...(await register(url, adminToken, tenantUrl, server.url)) })
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
  databaseUrl: string,
): Promise<Omit<RunningRelevo, 'pid'>> {
  const { signal } = new AbortController()
  const admin = apiOf(url, adminToken, signal)
  const workspace = await admin('POST', '/v1/workspaces', { name: 'Bench' })
  const apiKey = await admin('POST', `/v1/workspaces/${text(workspace, 'id')}/api-keys`, { name: 'bench' })
  const api = apiOf(url, text(apiKey, 'key'), signal)
  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', { wabaId: 'bench', appSecrets: [appSecret] })
  await api('POST', '/v1/webhooks', { name: 'Tenant', url: tenantUrl, events: ['whatsapp.flows.exchanges'] })
  const endpointUri = text(waba, 'endpointUri')
  const meta = createMetaClient({ endpointUri, publicKeyPem: text(waba, 'publicKey'), appSecret })
  const metric = async (name: string) => {
    const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminToken}` } })
    const line = (await response.text()).split('\n').find((row) => row.startsWith(`${name} `))
    if (line === undefined) throw new Error(`/metrics has no ${name}`)
    return Number(line.split(' ')[1])
  }
  return {
    api,
    databaseUrl,
    metric,
    play: (count, atOnce = 1) => playExchanges(meta, count, atOnce),
    cpuMs: async () => (await metric('process_cpu_seconds_total')) * 1000,
    residentMiB: async () => (await metric('process_resident_memory_bytes')) / 2 ** 20,
  }
}

/** The value at a share of the way through sorted values. */
export function at(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}

/** So many exchanges at once, until `count` are done. Throws when an answer is not the tenant's. */
export async function playExchanges(meta: MetaClient, count: number, atOnce: number): Promise<void> {
  let left = count
  const one = async () => {
    while (left-- > 0) {
      const { kind, problem } = await meta.exchange(writeMessage({ name: 'open', action: 'INIT' }, newFlowToken()))
      if (kind !== 'screen') throw new Error(`an answer was wrong: ${problem ?? kind}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}
