import { and, eq, gt, isNull, or, type SQL, sql } from 'drizzle-orm'
import type postgres from 'postgres'
import type { WorkspaceId } from '../domain/ids.ts'
import type { BreakerState } from '../domain/webhook.ts'
import { texts, times } from './arrays.ts'
import { type Queryable, storing } from './database.ts'
import { webhookBreakers, webhooks } from './schema.ts'

type NotClosed = Exclude<BreakerState, 'closed'>

export interface WebhookKey {
  readonly workspaceId: WorkspaceId
  readonly webhookId: string
}

/** A breaker of one process that is not closed. */
export interface BreakerRow extends WebhookKey {
  readonly state: NotClosed
  /** By the process's clock. */
  readonly since: Date
}

/** The same as it is shown. */
export interface ListedBreaker {
  readonly process: string
  readonly state: NotClosed
  readonly since: Date
}

/** How often a process says again what it has said, ms. */
export const heartbeatMs = 5_000
/** A process that was not heard of for so long, four heartbeats, is taken for dead. */
const heardWithin = sql`interval '20 seconds'`

/** Writes what a process has to say, and that it lives. Throws StorageError. */
export function writeBreakers(sql: postgres.Sql, process: string, rows: readonly BreakerRow[]): Promise<void> {
  return storing('write breakers', async () => {
    await sql`
      insert into webhook_breakers (workspace_id, webhook_id, process, state, since, seen_at)
      select w, h, ${process}, s, t, now()
        from unnest(${texts(rows, (r) => r.workspaceId)}::text[], ${texts(rows, (r) => r.webhookId)}::text[],
          ${texts(rows, (r) => r.state)}::text[], ${times(rows, (r) => r.since)}::text[]::timestamptz[]) as row (w, h, s, t)
      on conflict (workspace_id, webhook_id, process)
        do update set state = excluded.state, since = excluded.since, seen_at = excluded.seen_at`
  })
}

/** Removes what a process said of webhooks whose breakers are closed again. Throws StorageError. */
export function removeBreakers(sql: postgres.Sql, process: string, keys: readonly WebhookKey[]): Promise<void> {
  return storing('remove breakers', async () => {
    await sql`
      delete from webhook_breakers where process = ${process} and (workspace_id, webhook_id) in
        (select * from unnest(${texts(keys, (k) => k.workspaceId)}::text[], ${texts(keys, (k) => k.webhookId)}::text[]))`
  })
}

/**
 * For a select from `webhooks`: what the processes that live say of each webhook's breaker. What was so before it was closed by hand is
 * left out: who says it still has not heard yet.
 */
export function listedBreakers(queryable: Queryable, workspaceId: WorkspaceId): SQL<readonly ListedBreaker[]> {
  const { process, state, since, seenAt } = webhookBreakers
  const one = sql`json_build_object('process', ${process}, 'state', ${state}, 'since', ${since})`
  const ofWebhook = queryable.orm
    .select({ all: sql`coalesce(json_agg(${one} order by ${process}), '[]')` })
    .from(webhookBreakers)
    .where(
      and(
        eq(webhookBreakers.workspaceId, workspaceId),
        eq(webhookBreakers.webhookId, webhooks.id),
        gt(seenAt, sql`now() - ${heardWithin}`),
        or(isNull(webhooks.breakerClosedAt), gt(since, webhooks.breakerClosedAt)),
      ),
    )
  return sql`${ofWebhook}`.mapWith(readListed)
}

function readListed(json: string | readonly Record<keyof ListedBreaker, string>[]): readonly ListedBreaker[] {
  const rows: readonly Record<keyof ListedBreaker, string>[] = typeof json === 'string' ? JSON.parse(json) : json
  return rows.map(({ process, state, since }) => ({ process, state: state as NotClosed, since: new Date(since) }))
}
