import { dayMs } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Database, Queryable } from '../storage/database.ts'
import type { LookedAgain } from '../storage/look-again.ts'
import { queryableOn } from '../storage/pools.ts'

export const lookAgainEveryMs = 60_000
/** How long an expunge and a workspace's deletion look for rows that were on their way then, as long as somebody does. */
const expungeAgainMs = 60 * 60_000
/** How long nobody may have done it: a weekend. Further back than that nobody looks, also where it fails for longer. */
const mostAgainMs = 3 * dayMs

/** For all that went since then, or those of one workspace. */
type Look = (
  queryable: Queryable,
  since: Date,
  signal: AbortSignal,
  workspaceId: WorkspaceId | null,
) => Promise<LookedAgain>

/**
 * Looks back from this process's last pass on; at its first it does not know since when nobody did. A workspace that fails is tried again from where it
 * failed first, alone until the next pass is due: all others need not be read again. On a connection of its own, so that no API call waits behind it.
 */
export function lookingAgain(
  { database, soundNow }: { readonly database: Database; readonly soundNow: () => Promise<Date> },
  look: Look,
  found: (rows: number) => void,
): (signal: AbortSignal) => Promise<void> {
  let lastPass = 0
  const failedSince = new Map<WorkspaceId, number>()
  return async (signal) => {
    const now = (await soundNow()).getTime()
    const failures: unknown[] = []
    const lookSince = async (sinceMs: number, workspaceId: WorkspaceId | null) => {
      const since = new Date(Math.max(now - mostAgainMs, sinceMs))
      const looked = await database.onOwnConnection((sql) => look(queryableOn(sql), since, signal, workspaceId))
      if (looked.rows > 0) found(looked.rows)
      failures.push(...looked.failures.values())
      return looked.failures
    }
    const isDue = failedSince.size === 0 || Math.abs(now - lastPass) >= lookAgainEveryMs
    for (const [workspaceId, since] of failedSince) {
      const failed = await lookSince(since, workspaceId)
      if (failed.size === 0 && !signal.aborted) failedSince.delete(workspaceId)
    }
    if (isDue && !signal.aborted) {
      const since = Math.min(lastPass, now) - expungeAgainMs
      for (const workspaceId of (await lookSince(since, null)).keys()) {
        failedSince.set(workspaceId, Math.min(failedSince.get(workspaceId) ?? since, since))
      }
      if (!signal.aborted) lastPass = now
    }
    if (failures.length > 0) throw failures[0]
  }
}
