import { isObject, type JsonObject } from '../domain/json.ts'
import { succeeded, textIn } from './answer.ts'
import type { Graph } from './client.ts'
import { failed, type GraphResult, unreadable } from './problem.ts'

/** A flow as Graph tells of it (protocol.md 4.2); null where it says nothing. */
export interface MetaFlow {
  readonly metaFlowId: string
  readonly name: string | null
  readonly status: string | null
  readonly categories: readonly string[] | null
  readonly dataApiVersion: string | null
  readonly jsonVersion: string | null
  readonly endpointUri: string | null
  readonly healthStatus: unknown
  readonly validationErrors: unknown
}

export interface FlowAccess {
  readonly metaFlowId: string
  readonly accessToken: string
}

const pageSize = '100'
/** No WABA has that many flows; a cursor that never ends must. */
const mostPages = 100
/** A list gives the first five alone. */
const fields = 'id,name,status,categories,validation_errors,json_version,data_api_version,endpoint_uri,health_status'

/** The ids of all flows of a WABA, over all pages. Follows cursors and never `paging.next`, which holds a token. */
export async function listFlowIds(graph: Graph, wabaId: string, accessToken: string): Promise<GraphResult<string[]>> {
  const ids = new Set<string>()
  let after: string | null = null
  for (let page = 0; page < mostPages; page++) {
    const query: Record<string, string> = { limit: pageSize, ...(after === null ? {} : { after }) }
    const result = await graph.call({ method: 'GET', path: [wabaId, 'flows'], query, accessToken })
    if (!result.ok) return result
    if (!Array.isArray(result.value.data)) return failed(unreadable(200))
    for (const flow of result.value.data) if (isObject(flow) && isId(flow.id)) ids.add(flow.id)
    after = cursorAfter(result.value)
    if (after === null) return { ok: true, value: [...ids] }
  }
  return failed(unreadable(200))
}

/** What may become a member of a path. */
function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9A-Za-z_-]{1,64}$/.test(value)
}

/** The last page has a cursor too, but no `next`. */
function cursorAfter({ paging }: JsonObject): string | null {
  if (!isObject(paging) || typeof paging.next !== 'string' || !isObject(paging.cursors)) return null
  return textIn(paging.cursors, 'after')
}

export async function readFlow(graph: Graph, flow: FlowAccess): Promise<GraphResult<MetaFlow>> {
  const { metaFlowId, accessToken } = flow
  const result = await graph.call({ method: 'GET', path: [metaFlowId], query: { fields }, accessToken })
  if (!result.ok) return result
  if (result.value.id !== metaFlowId) return failed(unreadable(200))
  return { ok: true, value: flowOf(metaFlowId, result.value) }
}

function flowOf(metaFlowId: string, answer: JsonObject): MetaFlow {
  const { categories } = answer
  return {
    metaFlowId,
    name: textIn(answer, 'name'),
    status: textIn(answer, 'status'),
    categories: Array.isArray(categories) ? categories.filter((it) => typeof it === 'string') : null,
    dataApiVersion: textIn(answer, 'data_api_version'),
    jsonVersion: textIn(answer, 'json_version'),
    endpointUri: textIn(answer, 'endpoint_uri'),
    healthStatus: answer.health_status ?? null,
    validationErrors: answer.validation_errors ?? null,
  }
}

/** The Flow JSON through the URL of its asset; null where the flow has none. */
export async function readFlowJson(graph: Graph, flow: FlowAccess): Promise<GraphResult<JsonObject | null>> {
  const { metaFlowId, accessToken } = flow
  const result = await graph.call({ method: 'GET', path: [metaFlowId, 'assets'], accessToken })
  if (!result.ok) return result
  if (!Array.isArray(result.value.data)) return failed(unreadable(200))
  const asset = result.value.data.find((it) => isObject(it) && it.asset_type === 'FLOW_JSON')
  if (asset === undefined) return { ok: true, value: null }
  return graph.download(textIn(asset, 'download_url') ?? '')
}

export async function setEndpointUri(graph: Graph, flow: FlowAccess, endpointUri: string): Promise<GraphResult<null>> {
  const { metaFlowId, accessToken } = flow
  const body = { endpoint_uri: endpointUri }
  return succeeded(await graph.call({ method: 'POST', path: [metaFlowId], body, accessToken }))
}

export async function publishFlow(graph: Graph, flow: FlowAccess): Promise<GraphResult<null>> {
  const { metaFlowId, accessToken } = flow
  return succeeded(await graph.call({ method: 'POST', path: [metaFlowId, 'publish'], accessToken }))
}

/** A public page that shows the flow without a login. */
export interface FlowPreview {
  readonly previewUrl: string
  readonly expiresAt: Date | null
}

/** The link that there is: a new one would end those that people were given. */
export async function readPreview(graph: Graph, flow: FlowAccess): Promise<GraphResult<FlowPreview>> {
  const { metaFlowId, accessToken } = flow
  const query = { fields: 'preview.invalidate(false)' }
  const result = await graph.call({ method: 'GET', path: [metaFlowId], query, accessToken })
  if (!result.ok) return result
  const preview = isObject(result.value.preview) ? result.value.preview : {}
  const previewUrl = textIn(preview, 'preview_url')
  if (previewUrl === null) return failed(unreadable(200))
  return { ok: true, value: { previewUrl, expiresAt: timeOf(textIn(preview, 'expires_at')) } }
}

/** Graph writes `2026-05-21T11:18:09+0000`. */
function timeOf(text: string | null): Date | null {
  const unixMs = Date.parse(text ?? '')
  return Number.isNaN(unixMs) ? null : new Date(unixMs)
}
