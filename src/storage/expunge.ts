import { type SQL, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, type Transaction, transaction } from './database.ts'
import { existing } from './workspaces.ts'

/** How many rows of each kind an expunge emptied (exchanges) or removed (the others). */
export interface Expunged {
  readonly exchanges: number
  readonly flowResponses: number
  readonly conversations: number
}

/** A person may have thousands of exchanges: a minute, in ms. */
const expungeMs = 60_000

/**
 * Removes a client with its conversations and flow responses, and empties its exchanges: what was sent and answered, screens, flow
 * tokens and whose they were. Their rows stay with outcome and times, so that figures do not change (contract.md §7). Exchanges
 * count as the client's where they were recorded so or carry a flow token of its flow responses. Throws ApiError `not_found`.
 */
export function expungeClient(queryable: Queryable, workspaceId: WorkspaceId, clientId: string): Promise<Expunged> {
  const work = async (tx: Transaction): Promise<Expunged> => {
    const theirs = sql`workspace_id = ${workspaceId} and client_id = ${clientId}`
    const client = sql`workspace_id = ${workspaceId} and id = ${clientId}`
    existing(await tx.orm.execute(sql`select 1 from clients where ${client} for update`), 'client')
    // Two statements: one with an `or` over both ways would read every exchange of the workspace.
    const recorded = await count(tx, sql`update exchanges e set ${emptied} where ${theirs}`)
    const byToken = await count(
      tx,
      sql`with theirs as materialized (${flowResponsesOf(workspaceId, clientId)})
        update exchanges e set ${emptied} from theirs
        where e.workspace_id = ${workspaceId} and e.flow_token_digest = theirs.flow_token_digest`,
    )
    const flowResponses = await count(
      tx,
      sql`with theirs as materialized (${flowResponsesOf(workspaceId, clientId)})
        delete from flow_responses r using theirs where r.workspace_id = ${workspaceId} and r.id = theirs.id`,
    )
    const conversations = await count(tx, sql`delete from conversations where ${theirs}`)
    await tx.orm.execute(sql`delete from clients where ${client}`)
    return { exchanges: recorded + byToken, flowResponses, conversations }
  }
  return transaction(queryable, 'expunge client', work, expungeMs)
}

const emptied = sql`envelope = null, answer = null, screen = null, answer_screen = null, flow_token = null,
  flow_token_digest = null, client_id = null`

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
async function count(tx: Transaction, statement: SQL): Promise<number> {
  return (await tx.orm.execute(statement)).count
}
