import { and, count, desc, eq, getTableColumns, inArray, lt, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing, type Transaction } from './database.ts'
import { flows } from './schema.ts'
import { changeConfig, existing, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, ...columns } = getTableColumns(flows)
// A Flow JSON may have 10 MB: it is read only where one flow is asked for.
const { flowJson: _flowJson, ...columnsOfList } = columns

export type FlowWithJson = Omit<typeof flows.$inferSelect, 'workspaceId'>
/** The normalized snapshot of a Meta flow, without its Flow JSON. */
export type StoredFlow = Omit<FlowWithJson, 'flowJson'>

type Changeable = Omit<FlowWithJson, 'id' | 'wabaId' | 'metaFlowId' | 'createdAt' | 'updatedAt'>
/** What is left out stays as it is; null empties it. */
export type FlowChanges = { readonly [Member in keyof Changeable]?: Changeable[Member] | undefined }

export type NewFlow = Pick<FlowWithJson, 'wabaId' | 'metaFlowId'> & FlowChanges

/** What was known when Meta was asked for a flow: when that was, and the time of the status that was stored then, null for none. */
export interface Asked {
  readonly at: Date
  readonly statusAt: Date | null
}

/** Of one WABA. Every relay holds them with the ids of their screens, and reads all of a workspace's at each change of it. */
export const mostFlows = 1000

/** The WABA must be there. Throws ApiError `already_exists`, `limit_reached`. */
export function insertFlow(database: Database, workspaceId: WorkspaceId, flow: NewFlow): Promise<StoredFlow> {
  return changeConfig(database, workspaceId, 'insert flow', async (tx) => {
    const [row] = await tx.orm
      .insert(flows)
      .values({ workspaceId, id: newId('flow'), ...flow })
      .onConflictDoNothing()
      .returning(columnsOfList)
    if (!row) throw new ApiError('already_exists', 'metaFlowId: the WABA has a flow with it')
    await refuseFlowsBeyond(tx, workspaceId, flow.wabaId)
    await refuseScreensBeyond(tx, workspaceId, null, flow.screens)
    return row
  })
}

/** Of all flows of a workspace: a Flow JSON may name a thousand, each by 200 characters. */
export const mostScreens = 50_000

/** After a flow was added: ends the transaction where that was one too many. */
async function refuseFlowsBeyond({ orm }: Transaction, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  const ofWaba = and(eq(flows.workspaceId, workspaceId), eq(flows.wabaId, wabaId))
  const { held } = only(await orm.select({ held: count() }).from(flows).where(ofWaba))
  if (held > mostFlows)
    throw new ApiError('limit_reached', `a WABA has at most ${mostFlows} flows: delete one here first`)
}

type Screens = FlowChanges['screens']

/** After a flow's screens were stored: ends the transaction where it got more and all are too many, which those of a WABA that was moved may be anyway. */
async function refuseScreensBeyond(
  { orm }: Transaction,
  workspaceId: WorkspaceId,
  before: Screens,
  after: Screens,
): Promise<void> {
  if ((after?.length ?? 0) <= (before?.length ?? 0)) return
  const sum = { screens: sql<number>`coalesce(sum(cardinality(${flows.screens})), 0)::int` }
  const { screens } = only(await orm.select(sum).from(flows).where(eq(flows.workspaceId, workspaceId)))
  if (screens > mostScreens)
    throw new ApiError('limit_reached', `flows have at most ${mostScreens} screens in all: delete one here first`)
}

export function findFlow(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<StoredFlow | null> {
  return storing('find flow', async () => {
    const where = and(eq(flows.workspaceId, workspaceId), eq(flows.id, id))
    const [row] = await queryable.orm.select(columnsOfList).from(flows).where(where)
    return row ?? null
  })
}

/** As `JSON.stringify` wrote it: to read and write 10 MB of it anew holds the event loop for a quarter of a second. */
const flowJsonText = sql<string | null>`${flows.flowJson}::text`
type FlowWithText = StoredFlow & { readonly flowJson: string | null }

/** With the text of its Flow JSON. */
export function findFlowWithJson(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
): Promise<{ readonly flow: StoredFlow; readonly flowJson: string | null } | null> {
  return storing('find flow with JSON', async () => {
    const where = and(eq(flows.workspaceId, workspaceId), eq(flows.id, id))
    const [row] = await queryable.orm.select({ flow: columnsOfList, flowJson: flowJsonText }).from(flows).where(where)
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

/** `asked`: what was known when Meta was asked for these. Throws ApiError `not_found`, `limit_reached`. */
export function updateFlow(
  database: Database,
  workspaceId: WorkspaceId,
  id: string,
  changes: FlowChanges,
  asked?: Asked,
): Promise<StoredFlow> {
  return changeConfig(database, workspaceId, 'update flow', async (tx) => {
    const where = and(eq(flows.workspaceId, workspaceId), eq(flows.id, id))
    const { statusAt, screens } = flows
    const before = existing(await tx.orm.select({ statusAt, screens }).from(flows).where(where), 'flow')
    const told = asked === undefined ? changes : withStatusAt(changes, asked, before.statusAt)
    const changed = await tx.orm
      .update(flows)
      .set({ ...told, updatedAt: sql`now()` })
      .where(where)
      .returning(columnsOfList)
    const flow = existing(changed, 'flow')
    await refuseScreensBeyond(tx, workspaceId, before.screens, changes.screens)
    return flow
  })
}

/** What Meta told, without its status where another was stored since it was asked: that came by a notice, and what was read may be from before. */
function withStatusAt(told: FlowChanges, asked: Asked, storedAt: Date | null): FlowChanges {
  if (told.status == null) return told
  const isSame = storedAt?.getTime() === asked.statusAt?.getTime()
  return isSame ? { ...told, statusAt: asked.at } : { ...told, status: undefined }
}

/** What names it (flow responses, exchanges, webhooks) goes on naming it. Throws ApiError `not_found`. */
export function deleteFlow(database: Database, workspaceId: WorkspaceId, id: string): Promise<void> {
  return changeConfig(database, workspaceId, 'delete flow', async (tx) => {
    const where = and(eq(flows.workspaceId, workspaceId), eq(flows.id, id))
    existing(await tx.orm.delete(flows).where(where).returning({ id: flows.id }), 'flow')
  })
}

export type SyncResult = 'created' | 'updated' | 'unchanged'

/**
 * Makes the flow, or brings it to what Meta tells; what is left out was not told. `updatedAt` moves only with a difference. The WABA
 * must be there. Throws ApiError `limit_reached`.
 */
export function syncFlow(
  database: Database,
  workspaceId: WorkspaceId,
  snapshot: Omit<NewFlow, 'lastSyncAt'>,
  asked: Asked,
): Promise<SyncResult> {
  return changeConfig(database, workspaceId, 'sync flow', async (tx) => {
    const { wabaId, metaFlowId, ...snapshotTold } = snapshot
    const lastSyncAt = asked.at
    const made = await tx.orm
      .insert(flows)
      .values({
        workspaceId,
        id: newId('flow'),
        ...withStatusAt(snapshotTold, asked, asked.statusAt),
        lastSyncAt,
        wabaId,
        metaFlowId,
      })
      .onConflictDoNothing()
      .returning({ id: flows.id })
    if (made.length > 0) {
      await refuseFlowsBeyond(tx, workspaceId, wabaId)
      await refuseScreensBeyond(tx, workspaceId, null, snapshot.screens)
      return 'created'
    }
    const before = await selectByMetaId(tx, workspaceId, wabaId, metaFlowId)
    const { statusAt, ...told } = withStatusAt(snapshotTold, asked, before.statusAt)
    const synced = { lastSyncAt, statusAt }
    const differs = isDifferent(before, told)
    await tx.orm
      .update(flows)
      .set(differs ? { ...told, ...synced, updatedAt: sql`now()` } : synced)
      .where(and(eq(flows.workspaceId, workspaceId), eq(flows.id, before.id)))
    await refuseScreensBeyond(tx, workspaceId, before.screens, told.screens)
    return differs ? 'updated' : 'unchanged'
  })
}

/** When the status of a flow that is stored was told, null for none. */
export function findStatusAt(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  { wabaId, metaFlowId }: Pick<NewFlow, 'wabaId' | 'metaFlowId'>,
): Promise<Date | null> {
  return storing('find status time', async () => {
    const where = byMetaId(workspaceId, wabaId, metaFlowId)
    const [row] = await queryable.orm.select({ statusAt: flows.statusAt }).from(flows).where(where)
    return row?.statusAt ?? null
  })
}

const byMetaId = (workspaceId: WorkspaceId, wabaId: string, metaFlowId: string) =>
  and(eq(flows.workspaceId, workspaceId), eq(flows.wabaId, wabaId), eq(flows.metaFlowId, metaFlowId))

/** Changes of one workspace's configuration take turns, so nothing moves the row before it is written. */
async function selectByMetaId(
  tx: Transaction,
  workspaceId: WorkspaceId,
  wabaId: string,
  metaFlowId: string,
): Promise<FlowWithText> {
  const where = byMetaId(workspaceId, wabaId, metaFlowId)
  return only(
    await tx.orm
      .select({ ...columnsOfList, flowJson: flowJsonText })
      .from(flows)
      .where(where),
  )
}

/** By their JSON: order counts, as a Flow JSON is kept as it came. */
function isDifferent(before: FlowWithText, told: FlowChanges): boolean {
  const storedOf = (name: string) =>
    name === 'flowJson' ? (before.flowJson ?? 'null') : JSON.stringify(before[name as keyof StoredFlow])
  return Object.entries(told).some(([name, value]) => value !== undefined && storedOf(name) !== JSON.stringify(value))
}
