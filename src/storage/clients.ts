import { and, desc, eq, lt, sql } from 'drizzle-orm'
import type { Client } from '../domain/envelope.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing } from './database.ts'
import { clients } from './schema.ts'
import { only, type Page } from './workspaces.ts'

export const clientColumns = {
  id: clients.id,
  phoneNumber: clients.phoneNumber,
  name: clients.name,
  firstname: clients.firstname,
  email: clients.email,
  createdAt: clients.createdAt,
  updatedAt: clients.updatedAt,
}

/** What is left out stays as it is; null empties it. */
export interface ClientMembers {
  readonly name?: string | null | undefined
  readonly firstname?: string | null | undefined
  readonly email?: string | null | undefined
}

/** Makes the client with this phone number, or updates what is given of the one that is there. */
export function upsertClient(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  phoneNumber: string,
  members: ClientMembers,
): Promise<{ readonly client: Client; readonly isNew: boolean }> {
  const id = newId('client')
  return storing('upsert client', async () => {
    const client = only(
      await queryable.orm
        .insert(clients)
        .values({ workspaceId, id, phoneNumber, ...members })
        .onConflictDoUpdate({
          target: [clients.workspaceId, clients.phoneNumber],
          set: { ...members, updatedAt: sql`now()` },
        })
        .returning(clientColumns),
    )
    return { client, isNew: client.id === id }
  })
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

export function findClient(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<Client | null> {
  return storing('find client', async () => {
    const where = and(eq(clients.workspaceId, workspaceId), eq(clients.id, id))
    const [row] = await queryable.orm.select(clientColumns).from(clients).where(where)
    return row ?? null
  })
}

/** Newest first. */
export function listClients(queryable: Queryable, workspaceId: WorkspaceId, page: Page): Promise<Client[]> {
  const older = page.before === null ? undefined : lt(clients.id, page.before)
  return storing('list clients', () =>
    queryable.orm
      .select(clientColumns)
      .from(clients)
      .where(and(eq(clients.workspaceId, workspaceId), older))
      .orderBy(desc(clients.id))
      .limit(page.limit),
  )
}
