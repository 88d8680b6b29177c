import { buildNotice, flowRecordMembers } from '../domain/envelope.ts'
import type { Notice } from '../domain/events.ts'
import { type Flow, flowStatuses } from '../domain/flow.ts'
import { newUuid, type WorkspaceId } from '../domain/ids.ts'
import type { SqlTransaction } from '../storage/database.ts'
import { type FlowStatusNotice, flowsWithMetaIds, storeFlowStatuses } from '../storage/flow-notices.ts'
import { insertMetaEvents } from '../storage/meta-events.ts'
import type { ToldNotice } from './meta-told.ts'
import type { Teller, Telling } from './teller.ts'

type StatusChange = Omit<FlowStatusNotice, 'cameFrom'> & { readonly from: string | null }

/** Stores what Meta tells of flows, and tells it to webhooks, in the transaction `tx`; what was told before is left out. */
export async function writeFlowNotices(
  tx: SqlTransaction,
  workspaceId: WorkspaceId,
  told: readonly ToldNotice[],
  teller: Teller,
): Promise<{ readonly applied: number; readonly hasChangedFlows: boolean }> {
  const now = new Date()
  const digests = told.map(({ digest }) => digest)
  const fresh = await insertMetaEvents(tx, workspaceId, digests, now)
  const applied = told.filter(({ digest }) => fresh.has(digest.toString('hex')))
  if (applied.length === 0) return { applied: 0, hasChangedFlows: false }
  const hasChangedFlows = await storeFlowStatuses(tx, workspaceId, lastStatuses(applied, now), now)
  const metaFlowIds = [...new Set(applied.map(({ notice }) => notice.metaFlowId))]
  const flows = await flowsWithMetaIds(tx, workspaceId, metaFlowIds)
  await teller.tell(
    tx,
    applied.map((one) => tellingOf(one, flowOf(one, flows), now)),
  )
  return { applied: applied.length, hasChangedFlows }
}

/** What webhooks are told for it. */
export function noticeEvent({ notice }: ToldNotice): Notice {
  return notice.kind === 'status' ? 'whatsapp.flows.status_changed' : 'whatsapp.flows.alert'
}

/** Of several statuses of one flow the latest; a status that we do not know is told and not stored. */
function lastStatuses(told: readonly ToldNotice[], now: Date): FlowStatusNotice[] {
  const changes = told.flatMap(({ account: { wabaId }, notice, at }) => {
    if (notice.kind !== 'status' || !flowStatuses.some((status) => status === notice.to)) return []
    const { metaFlowId, from, to: status } = notice
    return [{ wabaId, metaFlowId, from, status, at: at ?? now }]
  })
  const ofFlows = Map.groupBy(changes, ({ wabaId, metaFlowId }) => `${wabaId} ${metaFlowId}`)
  return [...ofFlows.values()].flatMap((ofFlow) => lastStatus(ofFlow) ?? [])
}

/** In one second, which is all that Meta tells, the one that none came from; else they stand in order. What is stored may be from before any of them. */
function lastStatus(ofFlow: readonly StatusChange[]): FlowStatusNotice | undefined {
  const latest = Math.max(...ofFlow.map(({ at }) => at.getTime()))
  const ofSecond = ofFlow.filter(({ at }) => at.getTime() === latest)
  const cameFrom = flowStatuses.filter((status) => ofSecond.some(({ from }) => from === status))
  const last = ofSecond.findLast(({ status }) => !cameFrom.some((from) => from === status)) ?? ofSecond.at(-1)
  return last && { ...last, cameFrom }
}

function flowOf({ account, notice }: ToldNotice, flows: readonly Flow[]): Flow | null {
  const { wabaId } = account
  return flows.find((flow) => flow.wabaId === wabaId && flow.metaFlowId === notice.metaFlowId) ?? null
}

function tellingOf(told: ToldNotice, flow: Flow | null, now: Date): Telling {
  const { account, notice } = told
  const { workspaceId, wabaId } = account
  const isStatus = notice.kind === 'status'
  const about = {
    id: newUuid(now.getTime()),
    event: noticeEvent(told),
    workspaceId,
    now,
    resourceId: flow?.id ?? null,
  }
  const records = flowRecordMembers(wabaId, notice.metaFlowId, flow)
  const envelope = buildNotice({
    ...about,
    changes: isStatus ? { status: { from: notice.from, to: notice.to } } : null,
    data: isStatus ? { ...records } : { ...records, alert: notice.alert },
  })
  const announcement = {
    ...about,
    flowId: flow?.id ?? null,
    clientId: null,
    envelope: Buffer.from(envelope),
    plain: null,
  }
  return { account, announcement }
}
