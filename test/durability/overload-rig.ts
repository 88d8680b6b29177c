import type { KeyObject } from 'node:crypto'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { apiOf, text } from '../../src/demo/registration.ts'
import { writeMessage } from '../../src/simulator/message.ts'
import { readPublicKey, sealRequest } from '../../src/simulator/seal.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { type RelevoProcess, runRelevo } from '../support/process.ts'
import { pin } from './cores.ts'
import { MetaConnections } from './meta-connections.ts'
import { requestOf } from './wire-client.ts'

/** Workspaces that the load is spread over: one alone would meet the bound of exchanges per webhook. */
const workspaces = 4
/** One call in so many is not answered by its webhook. */
const silentEvery = 20

export type Answered = 'replied' | 'shed' | 'timedOut' | 'refused' | 'lost' | { readonly problem: string }

interface Target {
  readonly path: string
  readonly key: KeyObject
  readonly appSecret: string
}

/** Relevo in a process of its own, tenants of which some stay silent, and Meta on plain sockets. */
export interface OverloadRig {
  readonly relevo: RelevoProcess
  readonly connections: MetaConnections
  call(): Promise<Answered>
  /** Sums a metric over its labels that hold `having`. */
  metric(name: string, having?: string): Promise<number>
  /** Of calls whose tenant stayed silent: ms from the tenant's having the request to the fallback on the wire. */
  readonly silences: readonly number[]
  close(): Promise<void>
}

export async function createOverloadRig(databaseUrl: string): Promise<OverloadRig> {
  const tenant = await startTenant()
  const adminToken = randomBytes(24).toString('hex')
  const relevo = runRelevo(['serve'], {
    MASTER_KEY: randomBytes(32).toString('base64'),
    ADMIN_TOKEN: adminToken,
    DATABASE_URL: databaseUrl,
    PORT: '0',
    WEBHOOK_ALLOW_HTTP: 'true',
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
    LOG_LEVEL: 'error',
    API_RATE_LIMIT: '100000',
  })
  const url = await relevo.listening()
  pin(relevo.pid, 0)
  const targets: Target[] = []
  for (let at = 0; at < workspaces; at++) targets.push(await register(url, adminToken, tenant.url, at))
  const connections = new MetaConnections(Number(new URL(url).port))
  const silences: number[] = []
  let calls = 0

  async function call(): Promise<Answered> {
    const turn = calls++
    const target = targets[turn % targets.length]
    if (target === undefined) throw new Error('no workspace')
    const isSilent = turn % silentEvery === 0
    const flowToken = isSilent ? `silent-${newFlowToken()}` : newFlowToken()
    const { body, signature, openAnswer } = sealRequest(
      writeMessage({ name: 'open', action: 'INIT' }, flowToken).text,
      target.key,
      target.appSecret,
    )
    const answer = await connections.send(requestOf(target.path, body, signature))
    const at = performance.now()
    const askedAt = tenant.silentSince.get(flowToken)
    tenant.silentSince.delete(flowToken)
    if (typeof answer === 'string') return answer
    if (answer.status !== 200) return { problem: `status ${answer.status}` }
    const opened = openAnswer(answer.body)
    if (!opened.ok) return { problem: opened.problem }
    if (opened.text === '{"screen":"NEXT","data":{}}') return 'replied'
    if (opened.text !== '{"data":{"acknowledged":true}}') return { problem: 'neither a reply nor the fallback' }
    if (askedAt === undefined) return 'shed'
    silences.push(at - askedAt)
    return 'timedOut'
  }

  return {
    relevo,
    connections,
    call,
    silences,
    async metric(name, having = '') {
      const page = await pageOf(`${url}/metrics`, adminToken)
      const lines = page.split('\n').filter((line) => new RegExp(`^${name}[ {]`).test(line) && line.includes(having))
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
    },
    async close() {
      connections.close()
      relevo.child.kill('SIGTERM')
      await relevo.ended()
      await tenant.close()
    },
  }
}

/** A busy process may refuse the connection: the page is asked for until it comes. */
async function pageOf(url: string, adminToken: string): Promise<string> {
  for (let tries = 0; ; tries++) {
    try {
      return await (
        await fetch(url, { headers: { authorization: `Bearer ${adminToken}`, connection: 'close' } })
      ).text()
    } catch (error) {
      if (tries === 50) throw error
    }
  }
}

async function startTenant() {
  const silentSince = new Map<string, number>()
  let calls = 0
  const server = createServer((request, response) => {
    const flowToken = String(request.headers['x-webhook-resource-id'])
    request.resume().on('end', () => {
      if (flowToken.startsWith('silent-')) return void silentSince.set(flowToken, performance.now())
      const answer = () =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"screen":"NEXT","data":{}}')
      if (++calls % 2 === 0) setTimeout(answer, Math.random() * 30)
      else answer()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    silentSince,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function register(url: string, adminToken: string, tenantUrl: string, at: number): Promise<Target> {
  const { signal } = new AbortController()
  const admin = apiOf(url, adminToken, signal)
  const workspace = await admin('POST', '/v1/workspaces', { name: `Overload ${at}` })
  const apiKey = await admin('POST', `/v1/workspaces/${text(workspace, 'id')}/api-keys`, { name: 'overload' })
  const api = apiOf(url, text(apiKey, 'key'), signal)
  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', { wabaId: `10000000000001${at}`, appSecrets: [appSecret] })
  await api('POST', '/v1/webhooks', { name: 'Tenant', url: tenantUrl, events: ['whatsapp.flows.exchanges'] })
  const path = new URL(text(waba, 'endpointUri')).pathname
  return { path, key: readPublicKey(text(waba, 'publicKey')), appSecret }
}
