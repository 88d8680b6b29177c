import { and, desc, eq, getTableColumns, lt, sql } from 'drizzle-orm'
import { defaultLifetimeMs, type FlowResponse } from '../domain/flow-response.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { clientIdOf } from './clients.ts'
import { type Queryable, storing, transaction } from './database.ts'
import { listed } from './listed-text.ts'
import { flowResponses } from './schema.ts'
import { existing, only, type Page } from './workspaces.ts'

const {
  workspaceId: _workspaceId,
  flowTokenDigest: _digest,
  metaPhoneNumber: _metaPhoneNumber,
  ...columns
} = getTableColumns(flowResponses)
const columnsOfList = { ...columns, flowToken: listed(flowResponses.flowToken) }

export const sendStatuses = ['sending', 'sent', 'failed', 'unknown'] as const
export type SendStatus = (typeof sendStatuses)[number]

export interface StoredFlowResponse extends FlowResponse {
  /** How the call that sent the flow ended; null where we did not send it. */
  readonly sendStatus: SendStatus | null
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** What a tenant tells of a flow token. What is left out stays as it is. */
export interface FlowResponseMembers {
  readonly flowId?: string | undefined
  readonly conversationId?: string | undefined
  readonly messageId?: string | undefined
  readonly campaignId?: string | undefined
  readonly agentId?: string | undefined
  readonly channelId?: string | undefined
  readonly sentAt?: Date | undefined
  readonly expiresAt?: Date | undefined
}

/** Whose flow token it is: a known client, or the one with a phone number, made if there is none. */
export type FlowResponseOwner = { readonly clientId: string } | { readonly phoneNumber: string } | null

/**
 * Makes the row of a flow token as `SENT`, or fills in what is given of the one that is there; its status stays. One statement
 * per row, so an exchange that writes the same row at the same moment loses nothing and neither fails.
 */
export function upsertFlowResponse(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  flowToken: string,
  owner: FlowResponseOwner,
  members: FlowResponseMembers,
): Promise<{ readonly flowResponse: StoredFlowResponse; readonly isNew: boolean }> {
  const id = newId('flowResponse')
  const createdAt = new Date()
  const expiresAt = members.expiresAt ?? new Date((members.sentAt ?? createdAt).getTime() + defaultLifetimeMs)
  return transaction(queryable, 'upsert flow response', async (tx) => {
    const clientId =
      owner && ('clientId' in owner ? owner.clientId : await clientIdOf(tx, workspaceId, owner.phoneNumber))
    const given = { ...members, ...(clientId === null ? {} : { clientId }) }
    const flowResponse = only(
      await tx.orm
        .insert(flowResponses)
        .values({
          ...given,
          workspaceId,
          id,
          flowToken,
          flowTokenDigest: digestOf(flowToken),
          status: 'SENT',
          expiresAt,
          createdAt,
          updatedAt: createdAt,
        })
        .onConflictDoUpdate({
          target: [flowResponses.workspaceId, flowResponses.flowTokenDigest],
          set: {
            ...given,
            metaPhoneNumber: metaPhoneNumberAfter(given.clientId),
            status: statusAt(createdAt),
            expiresAt: members.expiresAt ?? expiryAfter(members.sentAt),
            updatedAt: createdAt,
          },
        })
        .returning(columns),
    )
    return { flowResponse, isNew: flowResponse.id === id }
  })
}

/** What a tenant changes of a flow response. What is left out stays, null empties. */
export interface FlowResponseChanges {
  /** In place of `clientId`: the client with it, made if there is none. */
  readonly phoneNumber?: string | undefined
  readonly flowId?: string | null | undefined
  readonly clientId?: string | null | undefined
  readonly conversationId?: string | null | undefined
  readonly channelId?: string | null | undefined
  readonly messageId?: string | null | undefined
  readonly campaignId?: string | null | undefined
  readonly agentId?: string | null | undefined
  readonly sentAt?: Date | undefined
  readonly expiresAt?: Date | undefined
}

/** Throws ApiError `not_found`. */
export function updateFlowResponse(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
  { phoneNumber, ...members }: FlowResponseChanges,
): Promise<StoredFlowResponse> {
  return transaction(queryable, 'update flow response', async (tx) => {
    const clientId = phoneNumber === undefined ? members.clientId : await clientIdOf(tx, workspaceId, phoneNumber)
    const metaPhoneNumber = metaPhoneNumberAfter(clientId)
    const expiresAt = members.expiresAt ?? expiryAfter(members.sentAt)
    const changed = await tx.orm
      .update(flowResponses)
      .set({ ...members, clientId, metaPhoneNumber, expiresAt, status: statusAt(new Date()), updatedAt: sql`now()` })
      .where(and(eq(flowResponses.workspaceId, workspaceId), eq(flowResponses.id, id)))
      .returning(columns)
    return existing(changed, 'flow response')
  })
}

/** The number that Meta sent the flow to is that of the client whom it was sent to, and nobody else's. */
function metaPhoneNumberAfter(clientId: string | null | undefined) {
  if (clientId === undefined) return undefined
  const { clientId: before, metaPhoneNumber } = flowResponses
  return sql`case when ${before} is distinct from ${clientId} then null else ${metaPhoneNumber} end`
}

/** What has been shown of the row (domain/flow-response.ts): a later end brings nobody back. */
function statusAt(now: Date) {
  const { status, expiresAt } = flowResponses
  const isOver = sql`${status} in ('SENT', 'IN_PROGRESS') and ${expiresAt} <= ${now.toISOString()}::timestamptz`
  return sql`case when ${isOver} then 'EXPIRED' else ${status} end`
}

/** In SQL, as every writer of this column computes it: the database knows the text's bytes. */
export function digestOf(flowToken: string) {
  return sql`sha256(convert_to(${flowToken}, 'UTF8'))`
}

/**
 * An expiry that nobody chose follows `sentAt` (contract.md §4: `sentAt`, else creation, + 24 h). A minute of tolerance: an exchange
 * that made the row took its own clock's time, `created_at` may be the database's.
 */
function expiryAfter(sentAt: Date | undefined) {
  if (sentAt === undefined) return undefined
  const { createdAt, expiresAt, sentAt: sentBefore } = flowResponses
  const lifetime = sql`make_interval(secs => ${defaultLifetimeMs / 1000})`
  const unchosen = sql`${expiresAt} - coalesce(${sentBefore}, ${createdAt}) - ${lifetime} between '-1 minute' and '1 minute'`
  const following = sql`${new Date(sentAt.getTime() + defaultLifetimeMs).toISOString()}::timestamptz`
  return sql`case when ${unchosen} then ${following} else ${expiresAt} end`
}

export function findFlowResponse(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
): Promise<StoredFlowResponse | null> {
  return storing('find flow response', async () => {
    const where = and(eq(flowResponses.workspaceId, workspaceId), eq(flowResponses.id, id))
    const [row] = await queryable.orm.select(columns).from(flowResponses).where(where)
    return row ?? null
  })
}

/** Newest first, flow tokens cut to what a list shows. With a flow token: its row alone, if there is one. */
export function listFlowResponses(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
  flowToken: string | undefined,
): Promise<StoredFlowResponse[]> {
  return storing('list flow responses', () =>
    queryable.orm
      .select(columnsOfList)
      .from(flowResponses)
      .where(
        and(
          eq(flowResponses.workspaceId, workspaceId),
          page.before === null ? undefined : lt(flowResponses.id, page.before),
          flowToken === undefined ? undefined : eq(flowResponses.flowTokenDigest, digestOf(flowToken)),
        ),
      )
      .orderBy(desc(flowResponses.id))
      .limit(page.limit),
  )
}
