import type postgres from 'postgres'
import { timeOfId } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { spanStart } from '../domain/stats.ts'
import { texts, times } from './arrays.ts'

/**
 * Past this age a row's five minutes may be rolled up when it is written. The roll-up waits for 90 s: a minute is left for clocks that
 * differ and for a statement under way.
 */
const freshMs = 30_000

/** Five minutes of one workspace. */
export interface StaleSpan {
  readonly workspaceId: WorkspaceId
  readonly startsAt: Date
}

/** The five minutes of rows that are written late: out of a spool, or by a database that hung. */
export function staleSpans(rows: readonly { workspaceId: WorkspaceId; id: string }[]): StaleSpan[] {
  const freshFrom = Date.now() - freshMs
  const spans = new Map<string, StaleSpan>()
  for (const { workspaceId, id } of rows) {
    const madeAt = timeOfId(id)
    if (madeAt >= freshFrom) continue
    const startsAt = spanStart(new Date(madeAt), 5)
    spans.set(`${workspaceId} ${startsAt.getTime()}`, { workspaceId, startsAt })
  }
  return [...spans.values()]
}

/** As a part of the transaction that changes their rows. */
export async function markStale(sql: postgres.ISql, spans: readonly StaleSpan[]): Promise<void> {
  await sql`
    insert into exchange_stats_stale (workspace_id, starts_at)
    select * from unnest(${texts(spans, (s) => s.workspaceId)}::text[], ${times(spans, (s) => s.startsAt)}::text[]::timestamptz[])`
}
