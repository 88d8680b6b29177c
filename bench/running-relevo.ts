import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createChildren } from '../src/demo/children.ts'
import { type Api, apiOf, text } from '../src/demo/registration.ts'
import { writeMessage } from '../src/simulator/message.ts'
import { createMetaClient } from '../src/simulator/meta-client.ts'
import { newFlowToken } from '../src/simulator/simulate.ts'

/** A whole Relevo in a process of its own, on an embedded database, with a tenant that answers at once in another. */
export interface RunningRelevo {
  /** Under a workspace's key. */
  readonly api: Api
  /** The database's superuser URL. */
  readonly databaseUrl: string
  /** One exchange after the other; throws when an answer is wrong. */
  play(count: number): Promise<void>
  /** One value of the relay's /metrics. */
  metric(name: string): Promise<number>
  /** CPU of the relay's process so far, user and system, ms. */
  cpuMs(): Promise<number>
  /** Resident memory of the relay's process, MiB. */
  residentMiB(): Promise<number>
}

/** `prepare` runs on the empty, migrated database before Relevo loads it. */
export async function withRelevo(
  measure: (relevo: RunningRelevo) => Promise<void>,
  prepare: (databaseUrl: string) => Promise<void> = async () => {},
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'relevo-bench-'))
  const children = createChildren(join(import.meta.dirname, '..'), new AbortController().signal)
  const settings = {
    PORT: '0',
    DATA_DIR: folder,
    WEBHOOK_ALLOW_HTTP: 'true',
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
    API_RATE_LIMIT: '100000',
    PATH: '/usr/bin:/bin',
  }
  try {
    const first = await children.start('relevo', ['src/cli.ts', 'serve'], settings)
    const databaseUrl = await databaseUrlOf(folder)
    await prepare(databaseUrl)
    // A second process on the same database: it loads what was prepared.
    const url = await children.start('relevo', ['src/cli.ts', 'serve'], settings)
    const tenantUrl = await children.start('tenant', ['bench/tenant.ts'], {})
    void first
    const adminToken = (await readFile(join(folder, 'admin-token'), 'utf8')).trim()
    await measure(await register(url, adminToken, tenantUrl, databaseUrl))
  } finally {
    await children.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function register(
  url: string,
  adminToken: string,
  tenantUrl: string,
  databaseUrl: string,
): Promise<RunningRelevo> {
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
    async play(count) {
      for (let call = 0; call < count; call++) {
        const { problem } = await meta.exchange(writeMessage({ name: 'open', action: 'INIT' }, newFlowToken()))
        if (problem !== null) throw new Error(`an answer was wrong: ${problem}`)
      }
    },
    cpuMs: async () => (await metric('process_cpu_seconds_total')) * 1000,
    residentMiB: async () => (await metric('process_resident_memory_bytes')) / 2 ** 20,
  }
}

async function databaseUrlOf(folder: string): Promise<string> {
  const postmaster = (await readFile(join(folder, 'postgresql', 'postmaster.pid'), 'utf8')).split('\n')
  const password = (await readFile(join(folder, 'database-password'), 'utf8')).trim()
  return `postgres://relevo:${encodeURIComponent(password)}@127.0.0.1:${postmaster[3]?.trim()}/relevo`
}

/** The value at a share of the way through sorted values. */
export function at(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}
