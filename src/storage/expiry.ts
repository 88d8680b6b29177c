import type postgres from 'postgres'
import type { WorkspaceId } from '../domain/ids.ts'
import { storing } from './database.ts'

const chunkRows = 1000

/**
 * Expires flow responses whose time is over, at most 1000. Each once, whoever else does the same. `lastActivityAt` stays: nobody was
 * active. Returns how many were found and how many of them expired. Throws StorageError.
 */
export async function expireFlowResponses(sql: postgres.Sql, now: Date): Promise<{ found: number; expired: number }> {
  const due = await storing(
    'look for expired flow responses',
    () => sql<{ workspace_id: WorkspaceId; id: string }[]>`
    select workspace_id, id from flow_responses
    where status in ('SENT', 'IN_PROGRESS') and expires_at <= ${now} order by expires_at limit ${chunkRows}`,
  )
  let expired = 0
  // One workspace at a time, so that each statement stays on one shard.
  for (const [workspaceId, rows] of Map.groupBy(due, (row) => row.workspace_id)) {
    const ids = rows.map(({ id }) => id)
    expired += await expireIn(sql, workspaceId, ids, now)
  }
  return { found: due.length, expired }
}

/** Rows that an exchange is writing at this moment are left for the next pass: two that wait for each other's rows would be one too many. */
function expireIn(sql: postgres.Sql, workspaceId: WorkspaceId, ids: readonly string[], now: Date): Promise<number> {
  return storing('expire flow responses', async () => {
    const { count } = await sql`
      with due as (
        select id from flow_responses
        where workspace_id = ${workspaceId} and id = any(${ids}::text[]) and status in ('SENT', 'IN_PROGRESS')
          and expires_at <= ${now} for update skip locked)
      update flow_responses r set status = 'EXPIRED', updated_at = greatest(r.updated_at, ${now}) from due
      where r.workspace_id = ${workspaceId} and r.id = due.id`
    return count
  })
}
