import { type SQL, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, type Transaction, transaction } from './database.ts'
import { existing } from './workspaces.ts'

/** How many rows of each kind an expunge emptied (exchanges, deliveries) or removed (the others). */
export interface Expunged {
  readonly exchanges: number
  readonly flowResponses: number
  readonly conversations: number
  readonly deliveries: number
}

/** A person may have thousands of exchanges: a minute, in ms. */
export const expungeMs = 60_000

/**
 * Removes a client with its conversations and flow responses, and empties its exchanges and deliveries: what was sent and answered,
 * screens, flow tokens and whose they were. Their rows stay with outcome and times, so that figures do not change (contract.md §7);
 * deliveries that wait end. They count as the client's where they were recorded so or carry a flow token of its flow responses; so do
 * answers kept for repeated calls, which go. Who was expunged is noted, for rows that are on their way now. Throws ApiError `not_found`.
 */
export function expungeClient(queryable: Queryable, workspaceId: WorkspaceId, clientId: string): Promise<Expunged> {
  const work = async (tx: Transaction): Promise<Expunged> => {
    const theirs = sql`workspace_id = ${workspaceId} and client_id = ${clientId}`
    const client = sql`workspace_id = ${workspaceId} and id = ${clientId}`
    existing(await tx.orm.execute(sql`select 1 from clients where ${client} for update`), 'client')
    // Before its exchanges and in their order, as exchanges that end write theirs: two that wait for each other's rows would be one too many.
    await tx.orm.execute(sql`
      select 1 from flow_responses r
      where r.workspace_id = ${workspaceId} and r.id in (select id from (${flowResponsesOf(workspaceId, clientId)}) theirs)
      order by r.flow_token collate "C" for update of r`)
    const withTokens = sql`with theirs as materialized (${flowResponsesOf(workspaceId, clientId)})`
    await noteExpunged(tx, workspaceId, clientId, withTokens)
    // Two statements each: one with an `or` over both ways would read every row of the workspace.
    const byClient = sql`x.workspace_id = ${workspaceId} and x.client_id = ${clientId}`
    const byToken = sql`x.workspace_id = ${workspaceId} and x.flow_token_digest = theirs.flow_token_digest`
    const exchanges =
      (await count(tx, sql`update exchanges x set ${emptyExchange} where ${byClient}`)) +
      (await count(tx, sql`${withTokens} update exchanges x set ${emptyExchange} from theirs where ${byToken}`))
    const deliveries =
      (await emptyDeliveries(tx, workspaceId, sql`update deliveries x set ${emptyDelivery} where ${byClient}`)) +
      (await emptyDeliveries(
        tx,
        workspaceId,
        sql`${withTokens} update deliveries x set ${emptyDelivery} from theirs where ${byToken}`,
      ))
    await tx.orm.execute(sql`delete from idempotent_calls x where ${byClient}`)
    await tx.orm.execute(sql`${withTokens} delete from idempotent_calls x using theirs where ${byToken}`)
    const flowResponses = await count(
      tx,
      sql`${withTokens} delete from flow_responses r using theirs where r.workspace_id = ${workspaceId} and r.id = theirs.id`,
    )
    const conversations = await count(tx, sql`delete from conversations where ${theirs}`)
    await tx.orm.execute(sql`delete from clients where ${client}`)
    return { exchanges, flowResponses, conversations, deliveries }
  }
  return transaction(queryable, 'expunge client', work, expungeMs)
}

/** What an expunge takes from a row of `exchanges`. */
export const emptyExchange = sql`envelope = null, answer = null, screen = null, answer_screen = null, flow_token = null,
  flow_token_digest = null, client_id = null`

/** What it takes from a row of `deliveries`, `x`. One that waits ends: there is nothing left to send. */
export const emptyDelivery = sql`envelope = null, resource_id = null, flow_token_digest = null, client_id = null,
  status = case when x.status in ('pending', 'failed') then 'expunged' else x.status end, due_at = null, updated_at = now()`

/** Runs an update of `deliveries` and empties the attempts of the rows it changed: webhooks may answer with what they were sent. */
export async function emptyDeliveries(tx: Transaction, workspaceId: WorkspaceId, update: SQL): Promise<number> {
  const emptied = await tx.orm.execute<{ id: string }>(sql`${update} returning x.id`)
  if (emptied.length === 0) return 0
  const ids = sql.param(emptied.map(({ id }) => id))
  await tx.orm.execute(sql`
    update attempts set response_headers = null, response_body = null
    where workspace_id = ${workspaceId} and delivery_id = any(${ids}::text[]::uuid[])`)
  return emptied.length
}

/** A row for the client and one for each of its flow tokens; in the expunge's own transaction, so that neither is without the other. */
async function noteExpunged(tx: Transaction, workspaceId: WorkspaceId, clientId: string, withTokens: SQL) {
  await tx.orm.execute(sql`
    ${withTokens}
    insert into expunges (workspace_id, kind, digest, expunged_at)
    select ${workspaceId}, 'client', sha256(convert_to(${clientId}, 'UTF8')), now()
    union all select ${workspaceId}, 'flow_token', flow_token_digest, now() from theirs
    on conflict (workspace_id, kind, digest) do update set expunged_at = excluded.expunged_at`)
}

/** A flow response that names a conversation alone is the client's all the same. */
function flowResponsesOf(workspaceId: WorkspaceId, clientId: string): SQL {
  return sql`
    select id, flow_token_digest from flow_responses
    where workspace_id = ${workspaceId} and client_id = ${clientId}
    union
    select r.id, r.flow_token_digest from conversations v
    join flow_responses r on r.workspace_id = ${workspaceId} and r.conversation_id = v.id
    where v.workspace_id = ${workspaceId} and v.client_id = ${clientId} and r.client_id is null`
}

/** How many rows a statement changed. */
export async function count(tx: Transaction, statement: SQL): Promise<number> {
  return (await tx.orm.execute(statement)).count
}
