import { and, desc, eq, getTableColumns, inArray, lt, type SQL, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing } from './database.ts'
import { flowKeys } from './schema.ts'
import { changeConfig, existing, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, privateKeySealed: _privateKeySealed, ...columns } = getTableColumns(flowKeys)

/** A flow key as it can be shown; `publicKey` is SPKI PEM. */
export type FlowKeyFacts = Omit<typeof flowKeys.$inferSelect, 'workspaceId' | 'privateKeySealed'>

export interface NewFlowKey {
  readonly id: string
  readonly privateKeySealed: Buffer
  readonly publicKey: string
  readonly fingerprint: string
}

/** Each is tried on every call of Meta until one opens it, at 0.25 ms of CPU and more. */
export const mostActiveFlowKeys = 10

/** Retired ones are listed with their WABA; of the same pair there can be any number. */
export const mostRetiredFlowKeys = 100

/** The WABA must be there. Throws ApiError `already_exists` where the pair is active already, and `limit_reached`. */
export function insertFlowKey(
  database: Database,
  workspaceId: WorkspaceId,
  wabaId: string,
  flowKey: NewFlowKey,
): Promise<FlowKeyFacts> {
  return changeConfig(database, workspaceId, 'insert flow key', async (tx) => {
    const active = await selectActive(tx, workspaceId, wabaId)
    if (active.some(({ fingerprint }) => fingerprint === flowKey.fingerprint)) {
      throw new ApiError('already_exists', 'privateKey: this pair is an active flow key of the WABA')
    }
    refuseFull(active)
    return only(
      await tx.orm
        .insert(flowKeys)
        .values({ workspaceId, wabaId, status: 'active', ...flowKey })
        .returning(columns),
    )
  })
}

/** What insertFlowKey would find, for whoever first makes a key, which takes long. Throws ApiError `limit_reached`. */
export function requireRoomForFlowKey(queryable: Queryable, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  return storing('count flow keys', async () => refuseFull(await selectActive(queryable, workspaceId, wabaId)))
}

function refuseFull(active: readonly FlowKeyFacts[]): void {
  if (active.length >= mostActiveFlowKeys) {
    throw new ApiError('limit_reached', `a WABA has at most ${mostActiveFlowKeys} active flow keys: retire one first`)
  }
}

/** Ends an active flow key and destroys its private half; forgets those that were retired long before. Throws ApiError `not_found`, `last_flow_key`. */
export function retireFlowKey(database: Database, workspaceId: WorkspaceId, wabaId: string, id: string): Promise<void> {
  return changeConfig(database, workspaceId, 'retire flow key', async (tx) => {
    const active = await selectActive(tx, workspaceId, wabaId)
    existing(
      active.filter((flowKey) => flowKey.id === id),
      'active flow key',
    )
    if (active.length === 1) {
      throw new ApiError('last_flow_key', 'this is the last active flow key of the WABA: make another one first')
    }
    await tx.orm
      .update(flowKeys)
      .set({ status: 'retired', privateKeySealed: null, updatedAt: sql`now()` })
      .where(and(eq(flowKeys.workspaceId, workspaceId), eq(flowKeys.id, id)))
    const ofWaba = and(eq(flowKeys.workspaceId, workspaceId), eq(flowKeys.wabaId, wabaId))
    const beyond = tx.orm
      .select({ id: flowKeys.id })
      .from(flowKeys)
      .where(and(ofWaba, eq(flowKeys.status, 'retired')))
      .orderBy(desc(flowKeys.updatedAt), desc(flowKeys.id))
      .offset(mostRetiredFlowKeys)
    await tx.orm.delete(flowKeys).where(and(ofWaba, inArray(flowKeys.id, beyond)))
  })
}

/** Active or retired. */
export function findFlowKey(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  wabaId: string,
  id: string,
): Promise<FlowKeyFacts | null> {
  return storing('find flow key', async () => {
    const [row] = await select(queryable, workspaceId, and(eq(flowKeys.wabaId, wabaId), eq(flowKeys.id, id)))
    return row ?? null
  })
}

/** Newest first. */
export function listFlowKeys(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  wabaId: string,
  page: Page,
): Promise<FlowKeyFacts[]> {
  const older = page.before === null ? undefined : lt(flowKeys.id, page.before)
  return storing('list flow keys', () =>
    select(queryable, workspaceId, and(eq(flowKeys.wabaId, wabaId), older)).limit(page.limit),
  )
}

/** Those of several WABAs, newest first, by WABA. */
export async function selectFlowKeys(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  wabaIds: readonly string[],
): Promise<Map<string, FlowKeyFacts[]>> {
  const rows = await select(queryable, workspaceId, inArray(flowKeys.wabaId, [...wabaIds]))
  return Map.groupBy(rows, (row) => row.wabaId)
}

function selectActive(queryable: Queryable, workspaceId: WorkspaceId, wabaId: string) {
  return select(queryable, workspaceId, and(eq(flowKeys.wabaId, wabaId), eq(flowKeys.status, 'active')))
}

function select(queryable: Queryable, workspaceId: WorkspaceId, condition: SQL | undefined) {
  return queryable.orm
    .select(columns)
    .from(flowKeys)
    .where(and(eq(flowKeys.workspaceId, workspaceId), condition))
    .orderBy(desc(flowKeys.id))
}
