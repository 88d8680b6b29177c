import { and, desc, eq, lt, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
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

/**
 * Runs a change that relays must know of: the version moves and the hint is sent in the change's own transaction. The version
 * comes first, so that changes of one workspace take turns: what one reads, no other changes meanwhile. Throws ApiError `not_found`
 * where the workspace is gone.
 */
export function changeConfig<T>(
  database: Database,
  workspaceId: WorkspaceId,
  operation: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return changeConfigs(database, [workspaceId], operation, work)
}

/** The same for a change of several workspaces. Hints are sent in the order given. */
export function changeConfigs<T>(
  database: Database,
  workspaceIds: readonly WorkspaceId[],
  operation: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  return transaction(database, operation, async (tx) => {
    // In one order everywhere, so that two such changes cannot wait for each other.
    for (const workspaceId of workspaceIds.toSorted()) await moveVersion(tx, workspaceId)
    const result = await work(tx)
    for (const workspaceId of workspaceIds) await hintChange(tx, workspaceId)
    return result
  })
}

async function moveVersion(tx: Transaction, workspaceId: WorkspaceId): Promise<void> {
  const moved = await tx.orm
    .update(workspaces)
    .set({ configVersion: sql`${workspaces.configVersion} + 1` })
    .where(eq(workspaces.id, workspaceId))
    .returning({ id: workspaces.id })
  existing(moved, 'workspace')
}

/** Tells relays, when the transaction commits, that the workspace's configuration has changed. */
export async function hintChange(tx: Transaction, workspaceId: WorkspaceId): Promise<void> {
  await tx.orm.execute(sql`select pg_notify(${configChannel}, ${workspaceId})`)
}

export function createWorkspace(database: Database, name: string): Promise<Workspace> {
  const id = newWorkspaceId()
  return transaction(database, 'create workspace', async (tx) => {
    const workspace = only(await tx.orm.insert(workspaces).values({ id, name }).returning(columns))
    await hintChange(tx, id)
    return workspace
  })
}

/** Throws ApiError `not_found`. */
export function updateWorkspace(
  queryable: Queryable,
  id: WorkspaceId,
  members: { readonly name?: string | undefined },
): Promise<Workspace> {
  const updatedAt = sql`now()`
  return storing('update workspace', async () =>
    existing(
      await queryable.orm
        .update(workspaces)
        .set({ ...members, updatedAt })
        .where(eq(workspaces.id, id))
        .returning(columns),
      'workspace',
    ),
  )
}

/** The first row, or ApiError `not_found`: ends a transaction whose subject is not there. */
export function existing<Row>(rows: readonly Row[], what: string): Row {
  const [row] = rows
  if (row === undefined) throw new ApiError('not_found', `there is no such ${what}`)
  return row
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
