import { createHash } from 'node:crypto'
import type postgres from 'postgres'
import type { WorkspaceId } from '../domain/ids.ts'
import { texts, times } from './arrays.ts'
import { storable } from './database.ts'

/**
 * Rows made up to so long after an expunge count as made before it, ms: clocks differ, and a delivery tells of an exchange that began
 * up to 8 s earlier. Who comes back that soon loses a payload; the other mistake keeps one of somebody who was expunged.
 */
export const expungeSlackMs = 10_000

/** When something was recorded of a flow token that is tied to no client. */
export interface TokenUse {
  readonly workspaceId: WorkspaceId
  readonly flowToken: string
  readonly at: Date
}

/** Those of these uses, in order, whose person was expunged since. As a part of the transaction that `tx` is. */
export async function expungedSince<U extends TokenUse>(tx: postgres.ISql, uses: readonly U[]): Promise<Set<U>> {
  if (uses.length === 0) return new Set()
  const rows = await tx`
    select t.n::int as n
    from unnest(${texts(uses, (u) => u.workspaceId)}::text[], ${texts(uses, (u) => u.flowToken)}::text[],
      ${times(uses, (u) => u.at)}::text[]::timestamptz[]) with ordinality as t(workspace_id, flow_token, at, n)
    join expunges x on x.workspace_id = t.workspace_id and x.kind = 'flow_token'
      and x.digest = sha256(convert_to(t.flow_token, 'UTF8'))
      and x.expunged_at >= t.at - make_interval(secs => ${expungeSlackMs / 1000})`
  return new Set(rows.flatMap(({ n }) => uses[n - 1] ?? []))
}

/** As {@link expungedSince}, of uses of one workspace: what Citus can ask one shard. */
export async function expungedOf<U extends TokenUse>(
  tx: postgres.ISql,
  workspaceId: WorkspaceId,
  uses: readonly U[],
): Promise<Set<U>> {
  if (uses.length === 0) return new Set()
  const rows = await tx`
    select encode(digest, 'hex') as digest, expunged_at from expunges
    where workspace_id = ${workspaceId} and kind = 'flow_token'
      and digest = any(${uses.map(({ flowToken }) => digestOf(flowToken))}::text[]::bytea[])`
  const expungedAt = new Map(rows.map((row) => [`\\x${row.digest}`, (row.expunged_at as Date).getTime()]))
  return new Set(
    uses.filter(({ flowToken, at }) => (expungedAt.get(digestOf(flowToken)) ?? 0) >= at.getTime() - expungeSlackMs),
  )
}

const digestOf = (flowToken: string) => `\\x${createHash('sha256').update(storable(flowToken)).digest('hex')}`
