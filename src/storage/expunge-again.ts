import { type SQL, sql } from 'drizzle-orm'
import { firstIdAt } from '../domain/day.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing, type Transaction } from './database.ts'
import { count, emptyDeliveries, emptyDelivery, emptyExchange } from './expunge.ts'
import { type LookedAgain, lookAgain } from './look-again.ts'
import { expungeSlackMs } from './tombstones.ts'

/** How long before an expunge a row that was then on its way can have been made. Older ones come out of spools, which look themselves. */
const madeBeforeMs = 600_000
/** How long after: the expunge may take its minute until it is seen, an exchange its seconds, and clocks differ by up to two minutes. */
const madeAfterMs = 200_000
/** Of one statement. */
const pageTombstones = 5000
/** What is looked for together lies no further apart, ms: of a busy workspace all rows between are read. */
const spanMs = 3_600_000

interface Tombstone extends Record<string, unknown> {
  readonly workspace_id: WorkspaceId
  readonly kind: 'client' | 'flow_token'
  /** Hex. */
  readonly digest: string
  /** As text, to the microsecond: pages begin after it. */
  readonly expunged_at: string
}

/**
 * Empties rows that were on their way to the database when their person was expunged, for all who were expunged since `since`, the latest
 * first; of one workspace alone where it is given. Repeatable. Throws StorageError where it cannot be known who they are.
 */
export function expungeAgain(
  queryable: Queryable,
  since: Date,
  signal: AbortSignal,
  workspaceId: WorkspaceId | null = null,
): Promise<LookedAgain> {
  const empty = (tx: Transaction, { workspaceId: id, kind, tombstones }: Together) =>
    kind === 'client' ? ofClients(tx, id, tombstones) : ofTokens(tx, id, tombstones)
  return lookAgain(queryable, 'expunge again', togetherSince(queryable, since, workspaceId), empty, signal)
}

/** Whose rows are looked for by one statement. */
interface Together {
  readonly workspaceId: WorkspaceId
  readonly kind: Tombstone['kind']
  readonly tombstones: readonly Tombstone[]
}

async function* togetherSince(
  queryable: Queryable,
  since: Date,
  workspaceId: WorkspaceId | null,
): AsyncGenerator<Together> {
  let last: Tombstone | undefined
  do {
    const page = await tombstonesSince(queryable, since, workspaceId, last)
    for (const [id, ofWorkspace] of Map.groupBy(page, ({ workspace_id }) => workspace_id)) {
      for (const [kind, ofKind] of Map.groupBy(ofWorkspace, (tombstone) => tombstone.kind)) {
        for (const tombstones of spansOf(ofKind)) yield { workspaceId: id, kind, tombstones }
      }
    }
    last = page.length < pageTombstones ? undefined : page.at(-1)
  } while (last !== undefined)
}

/** Of tombstones, the latest first. */
function spansOf(tombstones: readonly Tombstone[]): Tombstone[][] {
  const spans: Tombstone[][] = []
  for (const tombstone of tombstones) {
    const span = spans.at(-1)
    const isNear = span?.[0] !== undefined && timeOf(span[0]) - timeOf(tombstone) <= spanMs
    if (isNear) span.push(tombstone)
    else spans.push([tombstone])
  }
  return spans
}

const timeOf = ({ expunged_at }: Tombstone) => new Date(expunged_at).getTime()

function tombstonesSince(
  queryable: Queryable,
  since: Date,
  workspaceId: WorkspaceId | null,
  last: Tombstone | undefined,
): Promise<Tombstone[]> {
  const ofOne = workspaceId === null ? sql`` : sql`and workspace_id = ${workspaceId}`
  const afterLast =
    last &&
    sql`and (expunged_at, workspace_id, kind, digest)
      < (${last.expunged_at}::timestamptz, ${last.workspace_id}, ${last.kind}, decode(${last.digest}, 'hex'))`
  return storing('read expunges', async () => {
    const rows = await queryable.orm.execute<Tombstone>(sql`
      select workspace_id, kind, encode(digest, 'hex') as digest, expunged_at from expunges
      where expunged_at > ${since.toISOString()}::timestamptz and kind <> 'workspace' ${ofOne} ${afterLast ?? sql``}
      order by expunged_at desc, workspace_id desc, kind desc, expunges.digest desc limit ${pageTombstones}`)
    return [...rows]
  })
}

/** A client's id is known by its digest alone, so that only what was made at that time can be looked through. No id is used twice. */
async function ofClients(tx: Transaction, workspaceId: WorkspaceId, tombstones: readonly Tombstone[]): Promise<number> {
  const times = tombstones.map(timeOf)
  const from = firstIdAt(Math.min(...times) - madeBeforeMs)
  const until = firstIdAt(Math.max(...times) + madeAfterMs)
  // Ids are ASCII: their bytes are their text's, and to say so is immutable, as Citus wants it of an update's condition.
  const theirs = sql`x.workspace_id = ${workspaceId} and x.id >= ${from} and x.id < ${until} and x.client_id is not null
    and encode(sha256(x.client_id::bytea), 'hex') = any(${digestsOf(tombstones)}::text[])`
  const exchanges = await count(tx, sql`update exchanges x set ${emptyExchange} where ${theirs}`)
  const update = sql`update deliveries x set ${emptyDelivery} where ${theirs}`
  return exchanges + (await emptyDeliveries(tx, workspaceId, update))
}

/**
 * A flow token may be used again after the expunge, and what is then made of it stays. So do rows of a client that is there: a tenant may
 * have given the token to somebody else meanwhile. Of any age: a spool's rows without their client wait for no expunge's lock.
 */
async function ofTokens(tx: Transaction, workspaceId: WorkspaceId, tombstones: readonly Tombstone[]): Promise<number> {
  const untils = tombstones.map((tombstone) => new Date(timeOf(tombstone) + expungeSlackMs))
  const gone = sql`unnest(${digestsOf(tombstones)}::text[], ${sql.param(untils.map((until) => until.toISOString()))}::text[]::timestamptz[])
    as t(digest, until)`
  const theirs = sql`x.workspace_id = ${workspaceId} and x.flow_token_digest = decode(t.digest, 'hex') and x.client_id is null`
  // First, as exchanges write theirs first. One that an exchange is writing is left to the next pass.
  const flowResponses = await count(
    tx,
    sql`with due as (
        select x.id from flow_responses x, ${gone} where ${theirs} and x.conversation_id is null and x.sent_at is null
          and x.created_at <= t.until for update of x skip locked)
      delete from flow_responses x using due where x.workspace_id = ${workspaceId} and x.id = due.id`,
  )
  const exchanges = await count(
    tx,
    sql`update exchanges x set ${emptyExchange} from ${gone} where ${theirs} and x.created_at <= t.until`,
  )
  const update = sql`update deliveries x set ${emptyDelivery} from ${gone} where ${theirs} and x.occurred_at <= t.until`
  return exchanges + flowResponses + (await emptyDeliveries(tx, workspaceId, update))
}

function digestsOf(tombstones: readonly Tombstone[]): SQL {
  return sql`${sql.param(tombstones.map(({ digest }) => digest))}`
}
