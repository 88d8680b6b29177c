import { sql } from 'drizzle-orm'
import { firstIdAt } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing, type Transaction, transaction } from './database.ts'
import { count, emptyDeliveries, emptyDelivery, emptyExchange } from './expunge.ts'
import { expungeSlackMs } from './tombstones.ts'

/** How long before an expunge a row that was then on its way can have been made. Older ones come out of spools, which look themselves. */
const onTheirWayMs = 600_000
const mostTombstones = 1000

interface Tombstone {
  readonly workspace_id: WorkspaceId
  readonly kind: 'client' | 'flow_token'
  /** Hex. */
  readonly digest: string
  readonly expunged_at: string
}

/**
 * Empties rows that were on their way to the database when their person was expunged, for all who were expunged since `since`. Repeatable.
 * Returns how many rows it found. Throws StorageError.
 */
export async function expungeAgain(queryable: Queryable, since: Date, signal: AbortSignal): Promise<number> {
  let found = 0
  for (const tombstone of await tombstonesSince(queryable, since)) {
    if (signal.aborted) break
    const work = (tx: Transaction) => (tombstone.kind === 'client' ? ofClient(tx, tombstone) : ofToken(tx, tombstone))
    found += await transaction(queryable, 'expunge again', work)
  }
  return found
}

function tombstonesSince(queryable: Queryable, since: Date): Promise<Tombstone[]> {
  return storing('read expunges', async () => {
    const rows = await queryable.orm.execute<Tombstone & Record<string, unknown>>(sql`
      select workspace_id, kind, encode(digest, 'hex') as digest, expunged_at from expunges
      where expunged_at > ${since.toISOString()}::timestamptz order by expunged_at desc limit ${mostTombstones}`)
    return [...rows]
  })
}

/** A client's id is known by its digest alone, so that only what was made shortly before can be looked through. No id is used twice. */
async function ofClient(tx: Transaction, { workspace_id, digest, expunged_at }: Tombstone): Promise<number> {
  const from = firstIdAt(new Date(expunged_at).getTime() - onTheirWayMs)
  // Ids are ASCII: their bytes are their text's, and to say so is immutable, as Citus wants it of an update's condition.
  const theirs = sql`x.workspace_id = ${workspace_id} and x.id >= ${from} and x.client_id is not null
    and sha256(x.client_id::bytea) = decode(${digest}, 'hex')`
  const exchanges = await count(tx, sql`update exchanges x set ${emptyExchange} where ${theirs}`)
  const update = sql`update deliveries x set ${emptyDelivery} where ${theirs}`
  return exchanges + (await emptyDeliveries(tx, workspace_id, update))
}

/**
 * A flow token may be used again after the expunge, and what is then made of it stays. So do rows of a client that is there: a tenant may
 * have given the token to somebody else meanwhile.
 */
async function ofToken(tx: Transaction, { workspace_id, digest, expunged_at }: Tombstone): Promise<number> {
  const until = new Date(new Date(expunged_at).getTime() + expungeSlackMs).toISOString()
  const theirs = sql`x.workspace_id = ${workspace_id} and x.flow_token_digest = decode(${digest}, 'hex') and x.client_id is null`
  const exchanges = await count(
    tx,
    sql`update exchanges x set ${emptyExchange} where ${theirs} and x.created_at <= ${until}::timestamptz`,
  )
  const flowResponses = await count(
    tx,
    sql`delete from flow_responses x where ${theirs} and x.conversation_id is null and x.sent_at is null
      and x.created_at <= ${until}::timestamptz`,
  )
  const update = sql`update deliveries x set ${emptyDelivery} where ${theirs} and x.occurred_at <= ${until}::timestamptz`
  return exchanges + flowResponses + (await emptyDeliveries(tx, workspace_id, update))
}
