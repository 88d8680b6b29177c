import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { apiOf, text } from '../../src/demo/registration.ts'
import { type LoadSummary, runLoad } from '../../src/simulator/load.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import { createMetaClient } from '../../src/simulator/meta-client.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { startBalancer } from '../support/balancer.ts'
import { eventually } from '../support/eventually.ts'
import { type RelevoProcess, runRelevo } from '../support/process.ts'
import { startTenant } from '../support/tenant.ts'
import { pin } from './cores.ts'

const observerPath = '/observer'

/** What the simulator knows: its own side of the ledger. */
export interface MetaLedger {
  readonly summary: LoadSummary
  /** Flow tokens whose exchange was answered with the tenant's reply. Each call has a token of its own. */
  readonly answered: ReadonlySet<string>
  readonly sent: ReadonlySet<string>
}

/** Relevo in a process of its own on one port and one DATA_DIR, a tenant that answers at once or soon, and Meta. */
export interface Rig {
  /** Starts Relevo, or one of several; again after it ended. Resolves once it listens. */
  start(instance?: number): Promise<RelevoProcess>
  /** Calls that went to another instance because the first did not take them. */
  passedOn(): number
  /** Exchanges per second for so long, or until the signal, whether Relevo is there or not. */
  load(rate: number, seconds: number, signal?: AbortSignal): Promise<MetaLedger>
  /** How many calls got the tenant's reply, over all loads. */
  answered(): number
  /** Of the first, or another instance. */
  metric(name: string, instance?: number): Promise<number>
  /** One more webhook for all exchanges. Returns its signing secret. */
  addWebhook(name: string, url: string): Promise<string>
  /** How often the observer was told of each flow token's exchange. */
  told(): ReadonlyMap<string, number>
  close(): Promise<void>
}

/** What one Relevo of several has in its environment of its own. */
export type Instance = Readonly<Record<string, string>>

/**
 * `databaseUrl`: as Relevo is to see it; migrated. Starts one Relevo and registers a tenant. Several `instances` stand behind a balancer; the first
 * must serve the API. Where they have roles, each call goes to one whose role it is.
 */
export async function createRig(
  databaseUrl: string,
  instances: readonly Instance[] = [{}],
): Promise<{ rig: Rig; first: RelevoProcess }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'relevo-durability-'))
  const tenant = await startTenant()
  let calls = 0
  const told = new Map<string, number>()
  tenant.always(async ({ received, response, pause }) => {
    if (received.path === observerPath) {
      const flowToken = String(received.headers['x-webhook-resource-id'])
      told.set(flowToken, (told.get(flowToken) ?? 0) + 1)
      response.writeHead(204).end()
      return
    }
    // Every second answer comes at once: then the row's way to the disk is the longer one.
    if (++calls % 2 === 0) await pause(Math.random() * 30)
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"screen":"NEXT","data":{}}')
  })
  const adminToken = randomBytes(24).toString('hex')
  const ports = await Promise.all(instances.map(freePort))
  const urlOf = (instance: number) => `http://127.0.0.1:${ports[instance]}`
  const haveRoles = instances.some(({ ROLE }) => ROLE !== undefined)
  const urlsOf = (role: string) =>
    instances.flatMap(({ ROLE = role }, instance) => (ROLE === role ? [urlOf(instance)] : []))
  const targetsOf = (path: string) => urlsOf(path.startsWith('/api/') ? 'relay' : 'api')
  const balancerOptions = haveRoles
    ? { passesOn: 'refused' as const, healthPath: '/readyz' }
    : { passesOn: 'unanswered' as const }
  const balancer = instances.length === 1 ? null : await startBalancer(targetsOf, balancerOptions)
  const environment = {
    MASTER_KEY: randomBytes(32).toString('base64'),
    ADMIN_TOKEN: adminToken,
    DATABASE_URL: databaseUrl,
    WEBHOOK_ALLOW_HTTP: 'true',
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
    LOG_LEVEL: 'warn',
    API_RATE_LIMIT: '100000',
  }
  const start = async (instance = 0) => {
    const PUBLIC_URL = balancer === null ? {} : { PUBLIC_URL: balancer.url }
    const own = { PORT: String(ports[instance]), DATA_DIR: join(dataDir, String(instance)), ...PUBLIC_URL }
    const relevo = runRelevo(['serve'], { ...environment, ...own, ...instances[instance] })
    await relevo.listening()
    // The relay on one core, all else on the other; of several with roles the kernel knows best.
    if (!haveRoles) pin(relevo.pid, 0)
    return relevo
  }
  const first = await start()
  const { api, ...target } = await register(urlOf(0), adminToken, tenant.url)
  const client = createMetaClient({ ...target, maxSockets: 64 })
  let replies = 0
  const rig: Rig = {
    start,
    answered: () => replies,
    async load(rate, seconds, signal) {
      const [sent, answered] = [new Set<string>(), new Set<string>()]
      const next = () => {
        const flowToken = newFlowToken()
        sent.add(flowToken)
        const judge = ({ problem, answer }: { problem: string | null; answer: unknown }) => {
          const reason = problem ?? (isReply(answer) ? null : 'not the tenant’s reply')
          if (reason !== null) return reason
          answered.add(flowToken)
          replies++
          return null
        }
        return { message: writeMessage({ name: 'open', action: 'INIT' }, flowToken), judge }
      }
      return { summary: await runLoad({ client, rate, seconds, next, ...(signal ? { signal } : {}) }), sent, answered }
    },
    async metric(name, instance = 0) {
      const headers = { authorization: `Bearer ${adminToken}` }
      const page = await (await fetch(`${urlOf(instance)}/metrics`, { headers })).text()
      return Number(
        page
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      )
    },
    async addWebhook(name, url) {
      return text(await api('POST', '/v1/webhooks', { name, url, events: ['whatsapp.flows.exchanges'] }), 'secret')
    },
    told: () => told,
    passedOn: () => balancer?.passedOn ?? 0,
    async close() {
      client.close()
      await balancer?.close()
      await tenant.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
  return { rig, first }
}

/** What the observer was told, beside what it should have been told. */
export interface ToldOf {
  /** Answered, and the observer was not told. */
  readonly untold: number
  /** Times that it was told once more. */
  readonly toldAgain: number
}

/** Waits until the observer knows of every exchange that was answered, at most so long. */
export async function toldOf(rig: Rig, { answered }: MetaLedger, timeoutMs: number): Promise<ToldOf> {
  const untold = () => [...answered].filter((token) => !rig.told().has(token)).length
  await eventually(() => untold() === 0, { timeoutMs, everyMs: 100 }).catch(() => undefined)
  const toldAgain = [...rig.told().values()].reduce((sum, count) => sum + count - 1, 0)
  return { untold: untold(), toldAgain }
}

/** The other side: how the log agrees with what the simulator saw. */
export interface Comparison {
  readonly rows: number
  /** Answered, and not in the log. */
  readonly lost: number
  /** In the log more than once. */
  readonly twice: number
  /** In the log, and never sent. */
  readonly unknown: number
  /** By outcome; `null` for open rows. */
  readonly outcomes: Readonly<Record<string, number>>
}

export async function compare(databaseUrl: string, { answered, sent }: MetaLedger): Promise<Comparison> {
  const sql = postgres(databaseUrl, { max: 1 })
  try {
    const rows = await sql`select flow_token, coalesce(reason, outcome, 'null') as ended from exchanges`
    const counts = new Map<string, number>()
    const outcomes: Record<string, number> = {}
    for (const { flow_token, ended } of rows) {
      counts.set(flow_token, (counts.get(flow_token) ?? 0) + 1)
      outcomes[ended] = (outcomes[ended] ?? 0) + 1
    }
    return {
      rows: rows.length,
      lost: [...answered].filter((token) => !counts.has(token)).length,
      twice: [...counts.values()].filter((count) => count > 1).length,
      unknown: [...counts.keys()].filter((token) => !sent.has(token)).length,
      outcomes,
    }
  } finally {
    await sql.end()
  }
}

async function register(url: string, adminToken: string, tenantUrl: string) {
  const { signal } = new AbortController()
  const admin = apiOf(url, adminToken, signal)
  const workspace = await admin('POST', '/v1/workspaces', { name: 'Durability' })
  const apiKey = await admin('POST', `/v1/workspaces/${text(workspace, 'id')}/api-keys`, { name: 'durability' })
  const api = apiOf(url, text(apiKey, 'key'), signal)
  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', { wabaId: '100000000000009', appSecrets: [appSecret] })
  await api('POST', '/v1/webhooks', { name: 'Tenant', url: tenantUrl, events: ['whatsapp.flows.exchanges'] })
  const observerUrl = new URL(observerPath, tenantUrl).href
  await api('POST', '/v1/webhooks', { name: 'Observer', url: observerUrl, events: ['whatsapp.flows.exchanges'] })
  return { api, endpointUri: text(waba, 'endpointUri'), publicKeyPem: text(waba, 'publicKey'), appSecret }
}

const isReply = (answer: unknown) =>
  typeof answer === 'object' && answer !== null && 'screen' in answer && answer.screen === 'NEXT'

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}
