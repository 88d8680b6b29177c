import { and, desc, eq, getTableColumns, lt, type SQL, sql } from 'drizzle-orm'
import type { Conversation } from '../domain/envelope.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing, transaction } from './database.ts'
import { clients, conversations } from './schema.ts'
import { existing, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, ...columns } = getTableColumns(conversations)

/** A conversation with what its resource shows of its client. */
export interface ConversationWithClient extends Conversation {
  readonly clientName: string | null
  readonly phoneNumber: string
}

export type NewConversation = Omit<typeof conversations.$inferInsert, 'workspaceId' | 'id' | 'createdAt' | 'updatedAt'>

/** The client must be there. */
export function insertConversation(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  conversation: NewConversation,
): Promise<ConversationWithClient> {
  const id = newId('conversation')
  return transaction(queryable, 'insert conversation', async (tx) => {
    await tx.orm.insert(conversations).values({ workspaceId, id, ...conversation })
    return only(await selectConversations(tx, workspaceId, eq(conversations.id, id), 1))
  })
}

/** What is left out stays as it is. Whose conversation it is never changes. */
export type ConversationMembers = {
  readonly [Member in Exclude<keyof NewConversation, 'clientId'>]?: NewConversation[Member] | undefined
}

/** Throws ApiError `not_found`. */
export function updateConversation(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
  members: ConversationMembers,
): Promise<ConversationWithClient> {
  return transaction(queryable, 'update conversation', async (tx) => {
    await tx.orm
      .update(conversations)
      .set({ ...members, updatedAt: sql`now()` })
      .where(and(eq(conversations.workspaceId, workspaceId), eq(conversations.id, id)))
    return existing(await selectConversations(tx, workspaceId, eq(conversations.id, id), 1), 'conversation')
  })
}

/** What named it keeps its id. Throws ApiError `not_found`. */
export function deleteConversation(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<void> {
  return transaction(queryable, 'delete conversation', async (tx) => {
    const where = and(eq(conversations.workspaceId, workspaceId), eq(conversations.id, id))
    const gone = await tx.orm.delete(conversations).where(where).returning({ id: conversations.id })
    existing(gone, 'conversation')
  })
}

export function findConversation(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
): Promise<ConversationWithClient | null> {
  return storing('find conversation', async () => {
    const [row] = await selectConversations(queryable, workspaceId, eq(conversations.id, id), 1)
    return row ?? null
  })
}

/** Newest first. */
export function listConversations(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
): Promise<ConversationWithClient[]> {
  const older = page.before === null ? undefined : lt(conversations.id, page.before)
  return storing('list conversations', () => selectConversations(queryable, workspaceId, older, page.limit))
}

function selectConversations(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  condition: SQL | undefined,
  limit: number,
): Promise<ConversationWithClient[]> {
  const theirClient = and(eq(clients.workspaceId, conversations.workspaceId), eq(clients.id, conversations.clientId))
  return queryable.orm
    .select({ ...columns, clientName: clients.name, phoneNumber: clients.phoneNumber })
    .from(conversations)
    .innerJoin(clients, theirClient)
    .where(and(eq(conversations.workspaceId, workspaceId), condition))
    .orderBy(desc(conversations.id))
    .limit(limit)
}
