import type postgres from 'postgres'
import type { Flow } from '../domain/flow.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { flowColumns, flowOf } from './account-config.ts'
import { texts, times } from './arrays.ts'
import { configChannel } from './workspaces.ts'

/** A flow's status as Meta tells it. All of this runs in a transaction of the caller's. */
export interface FlowStatusNotice {
  readonly wabaId: string
  readonly metaFlowId: string
  /** What it may have been before in that second: none when the flow was made. */
  readonly cameFrom: readonly string[]
  readonly status: string
  readonly at: Date
}

/**
 * Stores statuses, each flow at most once, unless a later one is stored: a change of configuration as changeConfig makes them, the version
 * first. Meta's times have whole seconds: what Graph or another notice told in the same second was before where the flow came from that. Returns
 * whether any flow moved.
 */
export async function storeFlowStatuses(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  notices: readonly FlowStatusNotice[],
  now: Date,
): Promise<boolean> {
  if (notices.length === 0) return false
  await tx`update workspaces set config_version = config_version + 1 where id = ${workspaceId}`
  const { count } = await tx`
    update flows f set status = t.status, status_at = t.at, updated_at = ${now}::timestamptz
    from unnest(${texts(notices, (n) => n.wabaId)}::text[], ${texts(notices, (n) => n.metaFlowId)}::text[],
      ${texts(notices, (n) => n.status)}::text[], ${texts(notices, (n) => n.cameFrom.join())}::text[],
      ${times(notices, (n) => n.at)}::text[]::timestamptz[], ${times(notices, secondAfter)}::text[]::timestamptz[])
      as t(waba_id, meta_flow_id, status, came_from, at, until)
    where f.workspace_id = ${workspaceId} and f.waba_id = t.waba_id and f.meta_flow_id = t.meta_flow_id
      and (f.status_at is null or f.status_at < t.at
        or (f.status_at < t.until and f.status = any(string_to_array(t.came_from, ','))))`
  await tx`select pg_notify(${configChannel}, ${workspaceId})`
  return count > 0
}

/** By the caller: Citus takes no stable function of a column in an update's condition. */
const secondAfter = ({ at }: FlowStatusNotice): Date => new Date(at.getTime() + 1000)

/** The flows with these ids of Meta's. */
export async function flowsWithMetaIds(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  metaFlowIds: readonly string[],
): Promise<Flow[]> {
  const rows = await tx`
    select ${flowColumns(tx)} from flows
    where workspace_id = ${workspaceId} and meta_flow_id = any(${texts(metaFlowIds, (id) => id)}::text[])`
  return rows.map(flowOf)
}
