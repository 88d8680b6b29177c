import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createChildren } from '../src/demo/children.ts'
import { apiOf, text } from '../src/demo/registration.ts'
import { writeMessage } from '../src/simulator/message.ts'
import { createMetaClient } from '../src/simulator/meta-client.ts'
import { newFlowToken } from '../src/simulator/simulate.ts'

/**
 * `npm run bench`: one exchange after the other against a whole Relevo (embedded PostgreSQL, real sockets, a tenant that
 * answers at once). Prints the added latency (total less webhook time, by the rows' own clocks) and the CPU that the relay's
 * process spent, beside the CPU of one RSA-2048 OAEP decryption measured in the same run.
 */
const [warmUp, measured] = [500, 3000]
const stop = new AbortController()
const root = join(import.meta.dirname, '..')
const folder = await mkdtemp(join(tmpdir(), 'relevo-bench-'))
const children = createChildren(root, stop.signal)

try {
  const dataDir = folder
  const relevoUrl = await children.start('relevo', ['src/cli.ts', 'serve'], {
    PORT: '0',
    DATA_DIR: dataDir,
    WEBHOOK_ALLOW_HTTP: 'true',
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
    PATH: '/usr/bin:/bin',
  })
  const tenantUrl = await children.start('tenant', ['bench/tenant.ts'], {})
  const admin = apiOf(relevoUrl, (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim(), stop.signal)
  const metrics = async () => {
    const authorization = `Bearer ${(await readFile(join(dataDir, 'admin-token'), 'utf8')).trim()}`
    return (await fetch(`${relevoUrl}/metrics`, { headers: { authorization } })).text()
  }
  const workspace = await admin('POST', '/v1/workspaces', { name: 'Bench' })
  const apiKey = await admin('POST', `/v1/workspaces/${text(workspace, 'id')}/api-keys`, { name: 'bench' })
  const api = apiOf(relevoUrl, text(apiKey, 'key'), stop.signal)
  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', { wabaId: '1', appSecrets: [appSecret] })
  await api('POST', '/v1/webhooks', { name: 'Tenant', url: tenantUrl, events: ['whatsapp.flows.exchanges'] })
  const endpointUri = text(waba, 'endpointUri')
  const meta = createMetaClient({ endpointUri, publicKeyPem: text(waba, 'publicKey'), appSecret })
  const play = async (count: number) => {
    for (let call = 0; call < count; call++) {
      const { problem } = await meta.exchange(writeMessage({ name: 'open', action: 'INIT' }, newFlowToken()))
      if (problem !== null) throw new Error(`an answer was wrong: ${problem}`)
    }
  }

  await play(warmUp)
  const before = cpuMs(await metrics())
  await play(measured)
  const spent = (cpuMs(await metrics()) - before) / measured
  meta.close()

  const added = await addedLatencies(api)
  const rsa = rsaCpuMs()
  console.log(`exchanges                 ${measured}, one at a time`)
  console.log(`added latency p50         ${at(added, 0.5)} ms`)
  console.log(`added latency p99         ${at(added, 0.99)} ms   (of the last ${added.length})`)
  console.log(`CPU per exchange          ${spent.toFixed(3)} ms`)
  console.log(`CPU of one RSA decryption ${rsa.toFixed(3)} ms`)
  console.log(`ratio rsa=${(spent / rsa).toFixed(2)}`)
} finally {
  await children.stop()
  await rm(folder, { recursive: true, force: true })
}

/** The process's own CPU seconds, as /metrics tells them. */
function cpuMs(metricsText: string): number {
  const line = metricsText.split('\n').find((row) => row.startsWith('process_cpu_seconds_total'))
  if (line === undefined) throw new Error('/metrics has no process_cpu_seconds_total')
  return Number(line.split(' ')[1]) * 1000
}

async function addedLatencies(api: ReturnType<typeof apiOf>): Promise<number[]> {
  const added: number[] = []
  let cursor = ''
  while (added.length < 1000) {
    const page = (await api('GET', `/v1/exchanges?limit=100&outcome=replied${cursor}`)) as unknown as Page
    for (const { durationMs, webhookMs } of page.data) added.push(durationMs - webhookMs)
    if (page.nextCursor === null) break
    cursor = `&cursor=${page.nextCursor}`
  }
  return added.sort((a, b) => a - b)
}

interface Page {
  readonly data: { durationMs: number; webhookMs: number }[]
  readonly nextCursor: string | null
}

function at(sorted: readonly number[], share: number): string {
  return (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(2)
}

function rsaCpuMs(): number {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
  const wrapped = publicEncrypt({ key: createPublicKey(privateKey), ...oaep }, randomBytes(16))
  for (let call = 0; call < 200; call++) privateDecrypt({ key: privateKey, ...oaep }, wrapped)
  const before = process.cpuUsage()
  for (let call = 0; call < 2000; call++) privateDecrypt({ key: privateKey, ...oaep }, wrapped)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000 / 2000
}
