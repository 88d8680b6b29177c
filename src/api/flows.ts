import { z } from 'zod'
import { flowCategories, flowJsonSchema, flowStatuses, readFlowJson } from '../domain/flow.ts'
import { idPattern } from '../domain/ids.ts'
import { findFlow, insertFlow, listFlows, type StoredFlow } from '../storage/flows.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, isPlainText, metaId, pathId, text, unique } from './fields.ts'
import { byId, listOf, pageMembers, pageOf } from './list.ts'
import { created, ok, workspaceOperation } from './operation.ts'

// A Flow JSON of 10 MB (protocol.md 2.8) and the members around it.
const flowBodyLimitBytes = 12 * 1024 * 1024

/** Checked, but kept as it came: a schema's own reading would move its members about. */
const flowJson = z.record(z.string(), z.unknown()).superRefine((document, context) => {
  const result = flowJsonSchema.safeParse(document)
  if (!result.success) {
    for (const { path, message } of result.error.issues) context.addIssue({ code: 'custom', path, message })
    return
  }
  const { jsonVersion, dataApiVersion, screens } = readFlowJson(result.data)
  if (![jsonVersion, dataApiVersion ?? '', ...screens].every(isPlainText)) {
    context.addIssue({ code: 'custom', message: 'must not have NUL characters in versions and screen ids' })
  }
})

const flowInput = z.strictObject({
  wabaId: metaId,
  metaFlowId: metaId,
  name: text(200).nullish(),
  flowJson: flowJson.nullish(),
  status: z.enum(flowStatuses).nullish(),
  categories: unique(z.array(z.enum(flowCategories)).max(flowCategories.length)).nullish(),
  endpointUri: text(2048).nullish(),
  dataApiVersion: text(20).nullish(),
  jsonVersion: text(20).nullish(),
})

const flowBody = z.object({
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
  createdAt: isoTime,
  updatedAt: isoTime,
  lastSyncAt: isoTime.nullable(),
})
const flowWithJsonBody = flowBody.extend({ flowJson: z.unknown() })

function bodyOf(flow: StoredFlow): z.input<typeof flowBody> {
  const { createdAt, updatedAt, lastSyncAt } = flow
  return { ...flow, createdAt: iso(createdAt), updatedAt: iso(updatedAt), lastSyncAt: iso(lastSyncAt) }
}

/** What the Flow JSON tells, where the body does not say it itself. */
function rowOf(body: z.output<typeof flowInput>) {
  const facts = body.flowJson ? readFlowJson(flowJsonSchema.parse(body.flowJson)) : null
  return {
    wabaId: body.wabaId,
    metaFlowId: body.metaFlowId,
    name: body.name ?? null,
    status: body.status ?? null,
    categories: body.categories ?? null,
    endpointUri: body.endpointUri ?? null,
    dataApiVersion: body.dataApiVersion ?? facts?.dataApiVersion ?? null,
    jsonVersion: body.jsonVersion ?? facts?.jsonVersion ?? null,
    flowJson: body.flowJson ?? null,
    screens: facts && [...facts.screens],
    firstScreen: facts?.firstScreen ?? null,
    healthStatus: null,
    validationErrors: null,
  }
}

export const create = workspaceOperation({
  body: flowInput,
  bodyLimitBytes: flowBodyLimitBytes,
  response: { 201: flowBody },
  async handle({ deps, workspaceId, body }) {
    await requireNamed(deps.database, workspaceId, { wabaId: body.wabaId })
    const flow = await insertFlow(deps.database, workspaceId, rowOf(body))
    await deps.configChanged(workspaceId)
    return created(bodyOf(flow))
  },
})

export const list = workspaceOperation({
  query: z.strictObject(pageMembers(idPattern('flow'))),
  response: { 200: listOf(flowBody) },
  async handle({ deps, workspaceId, query }) {
    const body = await pageOf(query, (page) => listFlows(deps.database, workspaceId, page), byId, bodyOf)
    return ok(body)
  },
})

export const get = workspaceOperation({
  params: pathId('flow'),
  response: { 200: flowWithJsonBody },
  async handle({ deps, workspaceId, params }) {
    const flow = found(await findFlow(deps.database, workspaceId, params.id), 'flow')
    return ok({ ...bodyOf(flow), flowJson: flow.flowJson })
  },
})
