import { and, desc, eq, getTableColumns, lt, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Queryable, StorageError, storing } from './database.ts'
import { channels } from './schema.ts'
import { existing, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, ...columns } = getTableColumns(channels)

/** One phone number of a WABA. */
export type Channel = Omit<typeof channels.$inferSelect, 'workspaceId'>

export type NewChannel = Pick<Channel, 'wabaId' | 'phoneNumberId' | 'phoneNumber'>

/** The WABA must be there. Throws ApiError `already_exists`. */
export function insertChannel(queryable: Queryable, workspaceId: WorkspaceId, channel: NewChannel): Promise<Channel> {
  return storing('insert channel', async () => {
    const [row] = await queryable.orm
      .insert(channels)
      .values({ workspaceId, id: newId('channel'), ...channel })
      .onConflictDoNothing()
      .returning(columns)
    if (!row) throw taken()
    return row
  })
}

function taken(): ApiError {
  return new ApiError('already_exists', 'phoneNumberId: there is a channel with it')
}

/** A WABA that is given must be there. Throws ApiError `not_found`, `already_exists`. */
export async function updateChannel(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
  members: { readonly [Member in keyof NewChannel]?: NewChannel[Member] | undefined },
): Promise<Channel> {
  try {
    return await storing('update channel', async () => {
      const changed = await queryable.orm
        .update(channels)
        .set({ ...members, updatedAt: sql`now()` })
        .where(and(eq(channels.workspaceId, workspaceId), eq(channels.id, id)))
        .returning(columns)
      return existing(changed, 'channel')
    })
  } catch (error) {
    throw error instanceof StorageError && error.duplicate ? taken() : error
  }
}

/** What named it keeps its id. Throws ApiError `not_found`. */
export function deleteChannel(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<void> {
  return storing('delete channel', async () => {
    const where = and(eq(channels.workspaceId, workspaceId), eq(channels.id, id))
    existing(await queryable.orm.delete(channels).where(where).returning({ id: channels.id }), 'channel')
  })
}

export function findChannel(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<Channel | null> {
  return storing('find channel', async () => {
    const where = and(eq(channels.workspaceId, workspaceId), eq(channels.id, id))
    const [row] = await queryable.orm.select(columns).from(channels).where(where)
    return row ?? null
  })
}

/** Newest first. */
export function listChannels(queryable: Queryable, workspaceId: WorkspaceId, page: Page): Promise<Channel[]> {
  const older = page.before === null ? undefined : lt(channels.id, page.before)
  return storing('list channels', () =>
    queryable.orm
      .select(columns)
      .from(channels)
      .where(and(eq(channels.workspaceId, workspaceId), older))
      .orderBy(desc(channels.id))
      .limit(page.limit),
  )
}

/** Newest first. */
export function channelsOfWaba(queryable: Queryable, workspaceId: WorkspaceId, wabaId: string): Promise<Channel[]> {
  return storing('list channels of WABA', () =>
    queryable.orm
      .select(columns)
      .from(channels)
      .where(and(eq(channels.workspaceId, workspaceId), eq(channels.wabaId, wabaId)))
      .orderBy(desc(channels.id)),
  )
}
