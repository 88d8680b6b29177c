import { and, desc, eq, lt, sql } from 'drizzle-orm'
import { newWorkspaceId, type WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing, type Transaction, transaction } from './database.ts'
import { workspaces } from './schema.ts'

export type Workspace = Pick<typeof workspaces.$inferSelect, 'id' | 'name' | 'createdAt' | 'updatedAt'>

const columns = {
  id: workspaces.id,
  name: workspaces.name,
  createdAt: workspaces.createdAt,
  updatedAt: workspaces.updatedAt,
}

/** Where a page of a list begins: rows older than the one with this id. */
export interface Page {
  readonly limit: number
  readonly before: string | null
}

/** The channel on which a change of a workspace's configuration is told. A hint: the versions are the truth. */
export const configChannel = 'relevo_config'

/** Runs a change that relays must know of: the version moves and the hint is sent in the change's own transaction. */
export function changeConfig<T>(
  database: Database,
  workspaceId: WorkspaceId,
  operation: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return transaction(database, operation, async (tx) => {
    const result = await work(tx)
    await tx.orm
      .update(workspaces)
      .set({ configVersion: sql`${workspaces.configVersion} + 1` })
      .where(eq(workspaces.id, workspaceId))
    await tx.orm.execute(sql`select pg_notify(${configChannel}, ${workspaceId})`)
    return result
  })
}

export function createWorkspace(database: Database, name: string): Promise<Workspace> {
  const id = newWorkspaceId()
  return changeConfig(database, id, 'create workspace', async (tx) =>
    only(await tx.orm.insert(workspaces).values({ id, name }).returning(columns)),
  )
}

/** The row of a statement that always returns one. */
export function only<Row>(rows: readonly Row[]): Row {
  const [row] = rows
  if (row === undefined) throw new Error('the statement returned no row')
  return row
}

export function findWorkspace(queryable: Queryable, id: WorkspaceId): Promise<Workspace | null> {
  return storing('find workspace', async () => {
    const [row] = await queryable.orm.select(columns).from(workspaces).where(eq(workspaces.id, id))
    return row ?? null
  })
}

/** Newest first. */
export function listWorkspaces(queryable: Queryable, page: Page): Promise<Workspace[]> {
  return storing('list workspaces', () =>
    queryable.orm
      .select(columns)
      .from(workspaces)
      .where(and(page.before === null ? undefined : lt(workspaces.id, page.before as WorkspaceId)))
      .orderBy(desc(workspaces.id))
      .limit(page.limit),
  )
}
