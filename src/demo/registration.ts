import { randomBytes } from 'node:crypto'
import { isObject, type JsonObject, parseJson } from '../simulator/json.ts'
import { newFlowToken } from '../simulator/simulate.ts'
import { DemoFailed } from './failed.ts'

export type Api = (method: 'GET' | 'POST' | 'PATCH', path: string, body?: JsonObject) => Promise<JsonObject>

/** Three people with a flow open: two at the tenant's, one at the slow tenant's. */
export const people = ['first', 'second', 'slow'] as const
export type Person = (typeof people)[number]

export type Registered = {
  /** Under the workspace's own key. */
  api: Api
  publicKeyPem: string
  appSecret: string
  /** Where Meta would post, for each person's flow. */
  endpointUris: Record<Person, string>
  flowTokens: Record<Person, string>
}

export type Tenants = { url: string; slowUrl: string; webhookSecret: string; flowJson: unknown }

const wabaId = '100000000000001'
const metaFlowId = '200000000000001'
const slowMetaFlowId = '200000000000002'
const phoneNumbers: Record<Person, string> = { first: '+15550100123', second: '+15550100124', slow: '+15550100125' }

/** The API under one bearer token. Anything but a 2xx with a JSON object ends the demo with the problem's own words. */
export function apiOf(baseUrl: string, token: string, signal: AbortSignal): Api {
  return async (method, path, body) => {
    const headers = new Headers({ Authorization: `Bearer ${token}` })
    if (body !== undefined) headers.set('Content-Type', 'application/json')
    const sent = body === undefined ? null : JSON.stringify(body)
    const response = await fetch(new URL(path, baseUrl), { method, headers, body: sent, signal })
    const answer = parseJson(await response.text())
    if (response.ok && isObject(answer)) return answer
    const problem = isObject(answer)
      ? `${answer.detail ?? answer.title} ${JSON.stringify(answer.errors ?? [])}`
      : 'no JSON'
    throw new DemoFailed(`${method} ${path} answered ${response.status}: ${problem}`)
  }
}

/** Everything that a first tenant registers, in order: workspace, key, WABA, flows, webhooks, clients, flow responses (contract §6). */
export async function register(
  relevoUrl: string,
  adminToken: string,
  tenants: Tenants,
  signal: AbortSignal,
): Promise<Registered> {
  const admin = apiOf(relevoUrl, adminToken, signal)
  const workspace = await admin('POST', '/v1/workspaces', { name: 'Demo' })
  const apiKey = await admin('POST', `/v1/workspaces/${text(workspace, 'id')}/api-keys`, { name: 'demo' })
  const api = apiOf(relevoUrl, text(apiKey, 'key'), signal)

  const appSecret = randomBytes(16).toString('hex')
  const waba = await api('POST', '/v1/wabas', { wabaId, name: 'Demo', appSecrets: [appSecret] })
  const endpointUri = text(waba, 'endpointUri')

  const { flowJson, webhookSecret: secret } = tenants
  const flow = await api('POST', '/v1/flows', { wabaId, metaFlowId, name: 'Personalised offer', flowJson })
  const slowFlow = await api('POST', '/v1/flows', { wabaId, metaFlowId: slowMetaFlowId, name: 'Slow offer', flowJson })
  const flowIds = { first: text(flow, 'id'), second: text(flow, 'id'), slow: text(slowFlow, 'id') }

  const events = ['whatsapp.flows.exchanges']
  await api('POST', '/v1/webhooks', { name: 'Tenant', url: tenants.url, events, secret })
  await api('POST', '/v1/webhooks', {
    name: 'Slow tenant',
    url: tenants.slowUrl,
    events,
    secret,
    flowIds: [flowIds.slow],
  })

  const flowTokens = { first: newFlowToken(), second: newFlowToken(), slow: newFlowToken() }
  for (const person of people) {
    const phoneNumber = phoneNumbers[person]
    await api('POST', '/v1/clients', { phoneNumber })
    await api('POST', '/v1/flow-responses', { flowToken: flowTokens[person], flowId: flowIds[person], phoneNumber })
  }
  const slow = endpointUri.replace(/\/data$/, `/${slowMetaFlowId}/data`)
  const endpointUris = { first: endpointUri, second: endpointUri, slow }
  return { api, publicKeyPem: text(waba, 'publicKey'), appSecret, endpointUris, flowTokens }
}

/** A string member of an API answer. */
export function text(object: JsonObject, member: string): string {
  const value = object[member]
  if (typeof value !== 'string') throw new DemoFailed(`an answer of the API has no ${member}`)
  return value
}
