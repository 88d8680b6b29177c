import { and, desc, eq, getTableColumns, lt } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing } from './database.ts'
import { channels } from './schema.ts'
import type { Page } from './workspaces.ts'

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
    if (!row) throw new ApiError('already_exists', 'phoneNumberId: there is a channel with it')
    return row
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
