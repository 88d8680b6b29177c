import type postgres from 'postgres'
import type { Client, Conversation } from '../domain/envelope.ts'
import type { FlowResponse, FlowResponseStatus } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { storable, storing } from './database.ts'
import { textOf } from './json-columns.ts'

/** What is stored of a flow token before this exchange. */
export interface StoredSession {
  readonly flowResponse: FlowResponse | null
  readonly client: Client | null
  readonly conversation: Conversation | null
  /** The last answer that led to this exchange's screen, as sent. */
  readonly screenAnswer: Buffer | null
  /** The answer last given to the same action and screen, as sent. */
  readonly lastGood: Buffer | null
}

export interface SessionQuery {
  readonly workspaceId: WorkspaceId
  readonly flowToken: string
  readonly action: string | null
  readonly screen: string | null
}

/**
 * One round trip for all that ask at once: of each flow token its flow response, client and conversation, and earlier answers if asked. In the order
 * of the queries. Throws StorageError.
 */
export function loadSessions(
  sql: postgres.Sql,
  queries: readonly SessionQuery[],
  withAnswers: boolean,
): Promise<StoredSession[]> {
  const statement = withAnswers ? statements.withAnswers : statements.plain
  return storing('load sessions', () => readSessions(sql, statement, queries))
}

/** `parameters`: those of the statement after the first. */
export async function readSessions(
  sql: postgres.Sql,
  statement: string,
  queries: readonly SessionQuery[],
  parameters: readonly string[] = [],
): Promise<StoredSession[]> {
  const asked = queries.map(({ workspaceId, flowToken, action, screen }, at) => ({
    at,
    workspace_id: workspaceId,
    flow_token: storable(flowToken),
    action: textOf(action),
    screen: textOf(screen),
  }))
  const text = plannedAnew(sql, statement, queries.length)
  const rows = await sql.unsafe(text, [JSON.stringify(asked), ...parameters], { prepare: true })
  const byPlace = new Map(rows.map((row) => [row.at, row]))
  return queries.map(({ flowToken }, at) => sessionOf(byPlace.get(at) ?? {}, flowToken))
}

/** How many sessions were read by each pool. */
const readBy = new WeakMap<postgres.Sql, { sessions: number }>()
const texts = new Map<string, string[]>()

/**
 * The statement, but another text each time that four times as many sessions were read. A plan that was made when few rows were there is kept until autovacuum comes
 * by, and may read all of a workspace for each session: a backend remembers how high an index was, and learns better of the one alone that it uses, so
 * that for some hundred rows another looks cheaper.
 */
function plannedAnew(sql: postgres.Sql, statement: string, more: number): string {
  const read = readBy.get(sql) ?? { sessions: 0 }
  if (read.sessions === 0) readBy.set(sql, read)
  read.sessions += more
  const times = Math.floor(Math.log2(read.sessions) / 2)
  const ofStatement = texts.get(statement) ?? []
  if (ofStatement.length === 0) texts.set(statement, ofStatement)
  ofStatement[times] ??= `${statement} -- ${times}`
  return ofStatement[times]
}

const flowResponseColumns = `id, flow_id, status, sent_at, opened_at, last_activity_at, completed_at, expires_at, client_id,
  conversation_id, message_id, campaign_id, agent_id, channel_id`

/**
 * Each look-up is lateral, bounded and in order, where one row can be found: while a table is empty all its indexes cost the same to PostgreSQL, and it took one
 * that reads all of a workspace (15 ms at 10,000 rows, until autovacuum came by); only the right one gives the order. What is found
 * comes as JSON: a column less is work less.
 */
const found = (workspace: string) => `
  from json_to_recordset($1::text::json) as t(at int, workspace_id text, flow_token text, action text, screen text)
  cross join lateral (select sha256(convert_to(t.flow_token, 'UTF8')) as digest offset 0) token
  left join lateral (
    select ${flowResponseColumns} from flow_responses where workspace_id = ${workspace}
      and flow_token_digest >= token.digest and flow_token_digest <= token.digest
    order by flow_token_digest limit 1) r on true
  left join lateral (
    select * from conversations where workspace_id = ${workspace}
      and id >= r.conversation_id and id <= r.conversation_id
    order by id limit 1) v on true
  left join lateral (
    select * from clients where workspace_id = ${workspace}
      and id >= coalesce(r.client_id, v.client_id) and id <= coalesce(r.client_id, v.client_id)
    order by id limit 1) c on true`

const columns = `t.at, case when r.id is not null then row_to_json(r) end as flow_response,
  case when c.id is not null then row_to_json(c) end as client, case when v.id is not null then row_to_json(v) end as conversation`

/** How many of a token's exchanges an earlier answer is looked for in, the newest first: one token for everybody has no end of them, and all others would wait for it. */
const lookedThrough = 200

/**
 * Without a bound on the id: PostgreSQL then keeps one plan for all partitions (34: 0.65 ms), where with one it would plan for the
 * latest anew each time (1.7 ms). `nulls last`, as their index has it, or all of the token's exchanges would be read to be sorted.
 */
const replied = (workspace: string) => `select answer from (
    select id, outcome, action, screen, answer_screen, answer from exchanges
    where workspace_id = ${workspace} and flow_token_digest = token.digest
    order by id desc nulls last limit ${lookedThrough}) e
  where e.outcome = 'replied'`

/** `workspace`: the SQL of a query's workspace. */
export const sessionStatements = (workspace: string) => ({
  plain: `select ${columns}${found(workspace)}`,
  withAnswers: `select ${columns}, s.answer as screen_answer, g.answer as last_good${found(workspace)}
  left join lateral (${replied(workspace)} and e.answer_screen = t.screen order by e.id desc nulls last limit 1) s on true
  left join lateral (${replied(workspace)} and e.action = t.action and e.screen is not distinct from t.screen
    order by e.id desc nulls last limit 1) g on true`,
})

const statements = sessionStatements('t.workspace_id')

type Row = Record<string, unknown>

function sessionOf(row: Row, flowToken: string): StoredSession {
  return {
    flowResponse: row.flow_response ? flowResponseOf(row.flow_response as Row, flowToken) : null,
    client: row.client ? clientOf(row.client as Row) : null,
    conversation: row.conversation ? conversationOf(row.conversation as Row) : null,
    screenAnswer: (row.screen_answer ?? null) as Buffer | null,
    lastGood: (row.last_good ?? null) as Buffer | null,
  }
}

/** Times are Dates in a row of its own and text out of row_to_json. */
export function flowResponseOf(row: Row, flowToken: string): FlowResponse {
  return {
    id: row.id as string,
    flowToken,
    flowId: row.flow_id as string | null,
    status: row.status as FlowResponseStatus,
    sentAt: timeOf(row.sent_at),
    openedAt: timeOf(row.opened_at),
    lastActivityAt: timeOf(row.last_activity_at),
    completedAt: timeOf(row.completed_at),
    expiresAt: new Date(row.expires_at as string | Date),
    clientId: row.client_id as string | null,
    conversationId: row.conversation_id as string | null,
    messageId: row.message_id as string | null,
    campaignId: row.campaign_id as string | null,
    agentId: row.agent_id as string | null,
    channelId: row.channel_id as string | null,
  }
}

function timeOf(value: unknown): Date | null {
  return value === null ? null : new Date(value as string | Date)
}

export function clientOf(row: Row): Client {
  return {
    id: row.id as string,
    phoneNumber: row.phone_number as string,
    name: row.name as string | null,
    firstname: row.firstname as string | null,
    email: row.email as string | null,
    createdAt: new Date(row.created_at as string | Date),
    updatedAt: new Date(row.updated_at as string | Date),
  }
}

export function conversationOf(row: Row): Conversation {
  return {
    id: row.id as string,
    clientId: row.client_id as string,
    channelId: row.channel_id as string | null,
    canSendDirectMessage: row.can_send_direct_message as boolean,
    contactName: row.contact_name as string | null,
    topic: row.topic as string,
    platform: row.platform as string,
    owners: row.owners as string[],
    tags: row.tags as string[],
    status: row.status as string,
    operation: row.operation as string,
    messageCount: row.message_count as number,
    createdAt: new Date(row.created_at as string | Date),
    updatedAt: new Date(row.updated_at as string | Date),
  }
}
