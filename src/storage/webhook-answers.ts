import { firstIdAt } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { spanEnd } from '../domain/stats.ts'
import { type Database, storing } from './database.ts'
import { readStats } from './stats.ts'

/** Deliveries of all webhooks wait for it to be told, ms. */
const lookMs = 2000

/**
 * Whether a webhook answered an exchange since. From the statistics: a busy workspace has millions of rows in the days that are asked about, and none that
 * says yes where the webhook answers no exchanges at all. From the rows what those leave out, some minutes. Throws StorageError, after 2 s too.
 */
export function hasAnsweredSince(
  database: Database,
  workspaceId: WorkspaceId,
  webhookId: string,
  since: Date,
): Promise<boolean> {
  const look = async () => {
    const whole = { since: spanEnd(since, 5), until: spanEnd(new Date(), 5) }
    const { until, webhooks } = await readStats(database, workspaceId, whole)
    const counts = webhooks.find((webhook) => webhook.webhookId === webhookId)?.counts
    // What Relevo refuses on its own has no webhook.
    if (counts?.has('replied') || counts?.has('token_refused')) return true
    return (await answeredBetween(since, whole.since)) || answeredBetween(until, whole.until)
  }
  async function answeredBetween(from: Date, until: Date): Promise<boolean> {
    if (from >= until) return false
    const rows = await database.work.begin(async (sql) => {
      await sql.unsafe(`set local statement_timeout = ${lookMs}`)
      return sql`
        select from exchanges
        where workspace_id = ${workspaceId} and webhook_id = ${webhookId} and outcome in ('replied', 'token_refused')
          and id >= ${firstIdAt(from.getTime())} and id < ${firstIdAt(until.getTime())} and created_at >= ${from}
        limit 1`
    })
    return rows.length > 0
  }
  return storing('look for answered exchanges', look, lookMs)
}
