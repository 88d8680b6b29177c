import { and, desc, eq, getTableColumns, lt, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Queryable, StorageError, storing, transaction } from './database.ts'
import { clients } from './schema.ts'
import { existing, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, ...columns } = getTableColumns(clients)

/** A client with what its workspace keeps of it for itself. */
export type StoredClient = Omit<typeof clients.$inferSelect, 'workspaceId'>

/** What is left out stays as it is; null empties it. Attributes are replaced as a whole. */
export interface ClientMembers {
  readonly name?: string | null | undefined
  readonly firstname?: string | null | undefined
  readonly email?: string | null | undefined
  readonly attributes?: StoredClient['attributes'] | undefined
}

/** Makes the client with this phone number, or updates what is given of the one that is there. */
export function upsertClient(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  phoneNumber: string,
  members: ClientMembers,
): Promise<{ readonly client: StoredClient; readonly isNew: boolean }> {
  const id = newId('client')
  return transaction(queryable, 'upsert client', async (tx) => {
    const client = only(
      await tx.orm
        .insert(clients)
        .values({ workspaceId, id, phoneNumber, ...members })
        .onConflictDoUpdate({
          target: [clients.workspaceId, clients.phoneNumber],
          // Citus takes no function here that is not immutable; what would be inserted has the time.
          set: { ...members, updatedAt: sql`excluded.updated_at` },
        })
        .returning(columns),
    )
    return { client, isNew: client.id === id }
  })
}

/** Throws ApiError `not_found`, and `already_exists` where another client has the phone number. */
export async function updateClient(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
  members: ClientMembers & { readonly phoneNumber?: string | undefined },
): Promise<StoredClient> {
  try {
    return await transaction(queryable, 'update client', async (tx) => {
      const changed = await tx.orm
        .update(clients)
        .set({ ...members, updatedAt: sql`now()` })
        .where(and(eq(clients.workspaceId, workspaceId), eq(clients.id, id)))
        .returning(columns)
      return existing(changed, 'client')
    })
  } catch (error) {
    if (!(error instanceof StorageError) || !error.duplicate) throw error
    throw new ApiError('already_exists', 'phoneNumber: there is a client with it')
  }
}

/** The id of the client with this phone number, made if there is none. A client that is there is not touched. */
export async function clientIdOf(queryable: Queryable, workspaceId: WorkspaceId, phoneNumber: string): Promise<string> {
  const found = await storing('find client by phone number', () =>
    queryable.orm
      .select({ id: clients.id })
      .from(clients)
      .where(and(eq(clients.workspaceId, workspaceId), eq(clients.phoneNumber, phoneNumber))),
  )
  return found[0]?.id ?? (await upsertClient(queryable, workspaceId, phoneNumber, {})).client.id
}

export function findClient(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<StoredClient | null> {
  return storing('find client', async () => {
    const where = and(eq(clients.workspaceId, workspaceId), eq(clients.id, id))
    const [row] = await queryable.orm.select(columns).from(clients).where(where)
    return row ?? null
  })
}

/** Newest first. */
export function listClients(queryable: Queryable, workspaceId: WorkspaceId, page: Page): Promise<StoredClient[]> {
  const older = page.before === null ? undefined : lt(clients.id, page.before)
  return storing('list clients', () =>
    queryable.orm
      .select(columns)
      .from(clients)
      .where(and(eq(clients.workspaceId, workspaceId), older))
      .orderBy(desc(clients.id))
      .limit(page.limit),
  )
}
