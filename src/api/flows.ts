import { z } from 'zod'
import { flowCategories, flowStatuses } from '../domain/flow.ts'
import { idPattern } from '../domain/ids.ts'
import {
  deleteFlow,
  type FlowChanges,
  findFlowWithJson,
  insertFlow,
  listFlows,
  mostFlows,
  mostScreens,
  type StoredFlow,
  updateFlow,
} from '../storage/flows.ts'
import { exampleId, exampleList, exampleTimes, exampleWabaId } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, metaId, pathId, text, unique } from './fields.ts'
import { flowJson, toldByNone } from './flow-json.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, noBody, noContent, ok, workspaceOperation } from './operation.ts'

// A Flow JSON of 10 MB (protocol.md 2.8) and the members around it.
const flowBodyLimitBytes = 12 * 1024 * 1024

const flowMembers = {
  name: text(200).nullish(),
  flowJson: flowJson.nullish(),
  status: z.enum(flowStatuses).nullish(),
  categories: unique(z.array(z.enum(flowCategories)).max(flowCategories.length)).nullish(),
  endpointUri: text(2048).nullish(),
  dataApiVersion: text(20).nullish(),
  jsonVersion: text(20).nullish(),
  refuseClosedTokens: z
    .strictObject({ message: text(1000) })
    .nullish()
    .describe('427 with this message for flow tokens that are expired, or completed more than 10 min ago'),
}
const flowInput = z.strictObject({ wabaId: metaId, metaFlowId: metaId, ...flowMembers })
const flowChanges = z.strictObject(flowMembers)

export const flowBody = z.object({
  id: z.string(),
  wabaId: z.string(),
  metaFlowId: z.string(),
  name: z.string().nullable(),
  status: z.string().nullable(),
  categories: z.array(z.string()).nullable(),
  dataApiVersion: z.string().nullable(),
  endpointUri: z.string().nullable(),
  jsonVersion: z.string().nullable(),
  screens: z.array(z.string()).nullable(),
  refuseClosedTokens: z.object({ message: z.string() }).nullable(),
  healthStatus: z.unknown(),
  validationErrors: z.unknown(),
  createdAt: isoTime,
  updatedAt: isoTime,
  lastSyncAt: isoTime.nullable(),
})
const flowWithJsonBody = flowBody.extend({ flowJson: z.unknown() })

const exampleInput = {
  wabaId: exampleWabaId,
  metaFlowId: '300000000000001',
  name: 'Personalised offer',
  flowJson: {
    version: '7.1',
    data_api_version: '3.0',
    screens: [{ id: 'OFFER', layout: { type: 'SingleColumnLayout', children: [] } }],
  },
  status: 'PUBLISHED' as const,
  categories: ['LEAD_GENERATION' as const],
}
const { flowJson: exampleFlowJson, ...exampleMembers } = exampleInput
export const exampleFlow = {
  id: exampleId('flow'),
  ...exampleMembers,
  dataApiVersion: '3.0',
  endpointUri: null,
  jsonVersion: '7.1',
  screens: ['OFFER'],
  refuseClosedTokens: null,
  healthStatus: null,
  validationErrors: null,
  ...exampleTimes,
  lastSyncAt: null,
}

export function bodyOf(flow: StoredFlow): z.input<typeof flowBody> {
  const { createdAt, updatedAt, lastSyncAt } = flow
  return { ...flow, createdAt: iso(createdAt), updatedAt: iso(updatedAt), lastSyncAt: iso(lastSyncAt) }
}

/** What the body says itself goes before what its Flow JSON tells. */
function changesOf({ flowJson: given, ...said }: z.output<typeof flowChanges>): FlowChanges {
  if (given === undefined) return said
  const told = given ?? toldByNone
  const dataApiVersion = said.dataApiVersion ?? told.dataApiVersion
  return { ...said, ...told, dataApiVersion, jsonVersion: said.jsonVersion ?? told.jsonVersion }
}

export const create = workspaceOperation({
  summary: 'Register a flow by hand',
  description: `A WABA has at most ${mostFlows}, and all of a workspace ${mostScreens} screens together.`,
  errors: ['already_exists', 'limit_reached'],
  example: { body: exampleInput, answer: created(exampleFlow) },
  body: flowInput,
  bodyLimitBytes: flowBodyLimitBytes,
  response: { 201: flowBody },
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { wabaId: body.wabaId })
    const { wabaId, metaFlowId, ...members } = body
    const flow = await insertFlow(deps.database, workspaceId, { wabaId, metaFlowId, ...changesOf(members) })
    await deps.configChanged(workspaceId)
    return created(bodyOf(flow))
  },
})

export const list = workspaceOperation({
  summary: 'List flows',
  example: { answer: ok(exampleList(exampleFlow)) },
  query: z.strictObject(pageMembers(idPattern('flow'))),
  response: { 200: listOf(flowBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listFlows(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  summary: 'Read a flow and its Flow JSON',
  example: { params: { id: exampleFlow.id }, answer: ok({ ...exampleFlow, flowJson: exampleFlowJson }) },
  params: pathId('flow'),
  response: { 200: flowWithJsonBody },
  async handle({ deps, workspaceId, params }) {
    const { flow, flowJson } = found(await findFlowWithJson(deps.database, workspaceId, params.id), 'flow')
    return { ...ok({ ...bodyOf(flow), flowJson: undefined }), written: { flowJson: flowJson ?? 'null' } }
  },
})

export const update = workspaceOperation({
  summary: 'Change a flow',
  description:
    'Changes what Relevo knows, not the flow at Meta. Members that are left out stay as they are, null ' +
    'empties. With a `flowJson` its screens and versions change too.',
  errors: ['limit_reached'],
  example: { params: { id: exampleFlow.id }, body: { name: exampleFlow.name }, answer: ok(exampleFlow) },
  params: pathId('flow'),
  body: flowChanges,
  bodyLimitBytes: flowBodyLimitBytes,
  response: { 200: flowBody },
  async handle({ deps, workspaceId, params, body }) {
    const flow = await updateFlow(deps.database, workspaceId, params.id, changesOf(body))
    await deps.configChanged(workspaceId)
    return ok(bodyOf(flow))
  },
})

export const remove = workspaceOperation({
  summary: 'Forget a flow',
  description: 'The flow at Meta stays, and so does what names it here: exchanges, flow responses and webhooks.',
  example: { params: { id: exampleFlow.id }, answer: noContent() },
  params: pathId('flow'),
  response: { 204: noBody },
  async handle({ deps, workspaceId, params }) {
    await deleteFlow(deps.database, workspaceId, params.id)
    await deps.configChanged(workspaceId)
    return noContent()
  },
})
