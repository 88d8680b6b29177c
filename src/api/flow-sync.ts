import { z } from 'zod'
import { ApiError } from '../domain/errors.ts'
import { flowStatuses } from '../domain/flow.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { maxJsonValues } from '../domain/json.ts'
import { type FlowAccess, listFlowIds, type MetaFlow, readFlow, readFlowJson } from '../graph/flows.ts'
import type { GraphProblem } from '../graph/problem.ts'
import { storable } from '../storage/database.ts'
import { type FlowChanges, findStatusAt, mostFlows, type SyncResult, syncFlow } from '../storage/flows.ts'
import { exampleWabaId } from './example.ts'
import { requireNamed } from './existence.ts'
import { metaId } from './fields.ts'
import { toldByFlowJson } from './flow-json.ts'
import {
  accessTokenOf,
  graphErrors,
  graphErrorsDescription,
  graphProblemBody,
  graphProblemOf,
  succeeded,
} from './graph-access.ts'
import { inParallel } from './in-parallel.ts'
import { type ApiDeps, ok, workspaceOperation } from './operation.ts'

/** Meta counts management calls by the hour, not at once; this many keep a sync of a hundred flows under half a minute. */
const width = 4

const problemBody = graphProblemBody.extend({ code: z.enum([...graphProblemBody.shape.code.options, 'limit_reached']) })

const syncBody = z.object({
  created: z.number().int(),
  updated: z.number().int(),
  unchanged: z.number().int(),
  failed: z.array(z.object({ metaFlowId: z.string(), step: z.enum(['flow', 'flow_json']), problem: problemBody })),
})

/** What became of one flow. With a failure at `flow_json` the rest of it was synced. */
interface Synced {
  readonly result: SyncResult | null
  readonly failure: z.input<typeof syncBody>['failed'][number] | null
}

export const sync = workspaceOperation({
  summary: 'Sync the flows of a WABA from Meta',
  description:
    'Reads every flow of the WABA, its Flow JSON included, and makes or changes the flows here. `failed` ' +
    'names those that could not be read whole: at the step `flow` nothing of it changed, at `flow_json` ' +
    `all but its Flow JSON did, which is not read above 10 MB or ${maxJsonValues} values. A WABA has at most ${mostFlows} flows here: those beyond are left out, and in \`failed\` with the ` +
    `code \`limit_reached\`. Flows that Meta no longer lists are kept. One sync of a workspace runs at a time, the next waits. ${graphErrorsDescription}`,
  errors: graphErrors,
  example: { body: { wabaId: exampleWabaId }, answer: ok({ created: 0, updated: 1, unchanged: 0, failed: [] }) },
  body: z.strictObject({ wabaId: metaId }),
  response: { 200: syncBody },
  async handle({ deps, workspaceId, body: { wabaId } }) {
    await requireNamed(deps.database, workspaceId, { wabaId })
    return ok(await deps.flowSyncTurns.run(workspaceId, () => syncAll(deps, workspaceId, wabaId)))
  },
})

async function syncAll(deps: ApiDeps, workspaceId: WorkspaceId, wabaId: string): Promise<z.input<typeof syncBody>> {
  const accessToken = await accessTokenOf(deps, workspaceId, wabaId)
  const metaFlowIds = succeeded(await listFlowIds(deps.graph, wabaId, accessToken))
  try {
    const synced = await inParallel(metaFlowIds, width, (metaFlowId) =>
      syncOne(deps, workspaceId, wabaId, { metaFlowId, accessToken }),
    )
    return report(synced)
  } finally {
    await deps.configChanged(workspaceId)
  }
}

async function syncOne(deps: ApiDeps, workspaceId: WorkspaceId, wabaId: string, access: FlowAccess): Promise<Synced> {
  const { metaFlowId } = access
  const failure = (step: 'flow' | 'flow_json', problem: GraphProblem) => {
    return { metaFlowId, step, problem: graphProblemOf(problem) }
  }
  const asked = { at: new Date(), statusAt: await findStatusAt(deps.database, workspaceId, { wabaId, metaFlowId }) }
  const flow = await readFlow(deps.graph, access)
  if (!flow.ok) return { result: null, failure: failure('flow', flow.problem) }
  const json = await readFlowJson(deps.graph, access)
  // A flow without an asset at Meta keeps the Flow JSON that it was given here.
  const toldByAsset = json.ok && json.value !== null ? toldByFlowJson(json.value) : {}
  const snapshot = { wabaId, metaFlowId, ...toldByAsset, ...toldByMeta(flow.value) }
  try {
    const result = await syncFlow(deps.database, workspaceId, snapshot, asked)
    return { result, failure: json.ok ? null : failure('flow_json', json.problem) }
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'limit_reached') throw error
    return { result: null, failure: { metaFlowId, step: 'flow', problem: leftOut(error) } }
  }
}

function leftOut({ message }: ApiError): z.input<typeof problemBody> {
  return { code: 'limit_reached', detail: message, metaCode: null, metaSubcode: null, traceId: null, retryable: false }
}

/** The members of a flow that Graph tells. A version that it leaves out may still stand in the Flow JSON. */
export function toldByMeta(flow: MetaFlow): FlowChanges {
  const { name, categories, dataApiVersion, jsonVersion, endpointUri, healthStatus, validationErrors } = flow
  return {
    name: clean(name),
    status: flowStatuses.find((status) => status === flow.status) ?? null,
    categories: categories?.map(storable) ?? null,
    endpointUri: clean(endpointUri),
    healthStatus,
    validationErrors,
    ...(dataApiVersion === null ? {} : { dataApiVersion: storable(dataApiVersion) }),
    ...(jsonVersion === null ? {} : { jsonVersion: storable(jsonVersion) }),
  }
}

function clean(text: string | null): string | null {
  return text === null ? null : storable(text)
}

function report(synced: readonly Synced[]): z.input<typeof syncBody> {
  const count = (wanted: SyncResult) => synced.filter(({ result }) => result === wanted).length
  return {
    created: count('created'),
    updated: count('updated'),
    unchanged: count('unchanged'),
    failed: synced.map(({ failure }) => failure).filter((failure) => failure !== null),
  }
}
