import { z } from 'zod'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type FlowAccess, publishFlow, readFlow, readPreview, setEndpointUri } from '../graph/flows.ts'
import { type FlowChanges, findFlow, type StoredFlow, updateFlow } from '../storage/flows.ts'
import { found } from './existence.ts'
import { iso, isoTime, pathId } from './fields.ts'
import { toldByMeta } from './flow-sync.ts'
import { bodyOf, exampleFlow, flowBody } from './flows.ts'
import { accessTokenOf, graphErrors, graphErrorsDescription, succeeded } from './graph-access.ts'
import { type ApiDeps, ok, workspaceOperation } from './operation.ts'

const ofExample = { id: exampleFlow.id }

interface FlowAtMeta {
  readonly flow: StoredFlow
  readonly access: FlowAccess
}

/** Throws ApiError `not_found`, `access_token_missing`. */
async function flowAtMeta(deps: ApiDeps, workspaceId: WorkspaceId, id: string): Promise<FlowAtMeta> {
  const flow = found(await findFlow(deps.database, workspaceId, id), 'flow')
  const accessToken = await accessTokenOf(deps, workspaceId, flow.wabaId)
  return { flow, access: { metaFlowId: flow.metaFlowId, accessToken } }
}

async function store(deps: ApiDeps, workspaceId: WorkspaceId, { flow }: FlowAtMeta, changes: FlowChanges, at: Date) {
  const stored = await updateFlow(deps.database, workspaceId, flow.id, changes, { at, statusAt: flow.statusAt })
  await deps.configChanged(workspaceId)
  return bodyOf(stored)
}

export const connect = workspaceOperation({
  summary: "Make Relevo the flow's endpoint at Meta",
  description:
    "Sets the flow's `endpoint_uri` at Meta to the route that names this flow, and reads it back. A " +
    `published flow becomes a draft by this until it is published again. ${graphErrorsDescription}`,
  errors: graphErrors,
  example: { params: ofExample, answer: ok(exampleFlow) },
  params: pathId('flow'),
  response: { 200: flowBody },
  async handle({ deps, workspaceId, params }) {
    const atMeta = await flowAtMeta(deps, workspaceId, params.id)
    const { wabaId, metaFlowId } = atMeta.flow
    const endpointUri = `${deps.publicUrl()}/api/whatsapp/flows/${wabaId}/${metaFlowId}/data`
    succeeded(await setEndpointUri(deps.graph, atMeta.access, endpointUri))
    const toldAt = new Date()
    const told = await readFlow(deps.graph, atMeta.access)
    // Meta took it, whether or not it can be asked what else that changed, or says it then.
    const named = (told.ok ? told.value.endpointUri : null) ?? endpointUri
    const changes = { ...(told.ok ? toldByMeta(told.value) : {}), endpointUri: named }
    const body = await store(deps, workspaceId, atMeta, changes, toldAt)
    if (named !== endpointUri) {
      const extras = { status: 502, members: { metaCode: null, retryable: true } }
      throw new ApiError('graph_error', 'Meta took the endpoint URI, but names another one when asked', [], extras)
    }
    return ok(body)
  },
})

export const publish = workspaceOperation({
  summary: 'Publish a flow at Meta',
  description: `Then reads it back. ${graphErrorsDescription}`,
  errors: graphErrors,
  example: { params: ofExample, answer: ok(exampleFlow) },
  params: pathId('flow'),
  response: { 200: flowBody },
  async handle({ deps, workspaceId, params }) {
    const atMeta = await flowAtMeta(deps, workspaceId, params.id)
    succeeded(await publishFlow(deps.graph, atMeta.access))
    const toldAt = new Date()
    const told = await readFlow(deps.graph, atMeta.access)
    // It is published, whether or not Meta can be asked what else that changed, or says it then.
    const { status = null, ...others } = told.ok ? toldByMeta(told.value) : {}
    const isTold = status !== null && status !== 'DRAFT'
    const changes = { ...others, status: isTold ? status : 'PUBLISHED' }
    return ok(await store(deps, workspaceId, atMeta, changes, toldAt))
  },
})

const previewBody = z.object({ previewUrl: z.string(), expiresAt: isoTime.nullable() })

export const preview = workspaceOperation({
  summary: "Read the URL of a flow's preview at Meta",
  description: `A public page that needs no login. ${graphErrorsDescription}`,
  errors: graphErrors,
  example: {
    params: ofExample,
    answer: ok({
      previewUrl: 'https://business.facebook.com/wa/manage/flows/300000000000001/preview/?token=example',
      expiresAt: '2026-06-05T18:59:00.000Z',
    }),
  },
  params: pathId('flow'),
  response: { 200: previewBody },
  async handle({ deps, workspaceId, params }) {
    const { access } = await flowAtMeta(deps, workspaceId, params.id)
    const { previewUrl, expiresAt } = succeeded(await readPreview(deps.graph, access))
    return ok({ previewUrl, expiresAt: iso(expiresAt) })
  },
})
