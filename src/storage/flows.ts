import { and, desc, eq, getTableColumns, inArray, lt } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing } from './database.ts'
import { flows } from './schema.ts'
import { changeConfig, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, ...columns } = getTableColumns(flows)
// A Flow JSON may have 10 MB: it is read only where one flow is asked for.
const { flowJson: _flowJson, ...columnsOfList } = columns

export type FlowWithJson = Omit<typeof flows.$inferSelect, 'workspaceId'>
/** The normalized snapshot of a Meta flow, without its Flow JSON. */
export type StoredFlow = Omit<FlowWithJson, 'flowJson'>

export type NewFlow = Omit<FlowWithJson, 'id' | 'createdAt' | 'updatedAt' | 'lastSyncAt'>

/** The WABA must be there. Throws ApiError `already_exists`. */
export function insertFlow(database: Database, workspaceId: WorkspaceId, flow: NewFlow): Promise<StoredFlow> {
  return changeConfig(database, workspaceId, 'insert flow', async (tx) => {
    const [row] = await tx.orm
      .insert(flows)
      .values({ workspaceId, id: newId('flow'), ...flow })
      .onConflictDoNothing()
      .returning(columnsOfList)
    if (!row) throw new ApiError('already_exists', 'metaFlowId: the WABA has a flow with it')
    return row
  })
}

export function findFlow(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<FlowWithJson | null> {
  return storing('find flow', async () => {
    const where = and(eq(flows.workspaceId, workspaceId), eq(flows.id, id))
    const [row] = await queryable.orm.select(columns).from(flows).where(where)
    return row ?? null
  })
}

/** Whether all of these are flows of the workspace. */
export function flowsExist(queryable: Queryable, workspaceId: WorkspaceId, ids: readonly string[]): Promise<boolean> {
  return storing('find flow ids', async () => {
    const wanted = new Set(ids)
    const where = and(eq(flows.workspaceId, workspaceId), inArray(flows.id, [...wanted]))
    const rows = await queryable.orm.select({ id: flows.id }).from(flows).where(where)
    return rows.length === wanted.size
  })
}

/** Newest first. */
export function listFlows(queryable: Queryable, workspaceId: WorkspaceId, page: Page): Promise<StoredFlow[]> {
  const older = page.before === null ? undefined : lt(flows.id, page.before)
  return storing('list flows', () =>
    queryable.orm
      .select(columnsOfList)
      .from(flows)
      .where(and(eq(flows.workspaceId, workspaceId), older))
      .orderBy(desc(flows.id))
      .limit(page.limit),
  )
}
