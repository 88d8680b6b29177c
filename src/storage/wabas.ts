import { and, count, desc, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type AppSecretFacts, type NewAppSecret, selectAppSecrets } from './app-secrets.ts'
import { type Database, type Queryable, storing, type Transaction } from './database.ts'
import { type FlowKeyFacts, type NewFlowKey, selectFlowKeys } from './flow-keys.ts'
import { appSecrets, flowKeys, wabaDirectory, wabas } from './schema.ts'
import { changeConfig, existing, only } from './workspaces.ts'

/** A WABA as it can be shown: of its secrets only that they are there. Lists newest first. */
export interface Waba {
  readonly wabaId: string
  readonly name: string | null
  readonly verified: boolean
  readonly requireTokenSignature: boolean
  readonly hasAccessToken: boolean
  readonly hasVerifyToken: boolean
  readonly appSecrets: readonly AppSecretFacts[]
  readonly flowKeys: readonly FlowKeyFacts[]
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** Every secret is sealed before it comes here. */
export interface NewWaba {
  readonly wabaId: string
  readonly name: string | null
  readonly verified: boolean
  readonly requireTokenSignature: boolean
  readonly accessTokenSealed: Buffer | null
  readonly verifyTokenSealed: Buffer | null
  readonly appSecrets: readonly NewAppSecret[]
  readonly flowKey: NewFlowKey
}

/** Every relay holds each with its keys and flows, and reads all of a workspace's at each change of it. */
export const mostWabas = 1000

/** Claims the id, then stores the WABA with its secrets and first flow key. Throws ApiError `waba_taken`, `limit_reached`. */
export function insertWaba(database: Database, workspaceId: WorkspaceId, waba: NewWaba): Promise<Waba> {
  const { appSecrets: newAppSecrets, flowKey, ...row } = waba
  const { wabaId } = row
  return changeConfig(database, workspaceId, 'insert WABA', async (tx) => {
    await claimWabaId(tx, workspaceId, wabaId)
    await requireRoom(tx, workspaceId)
    await tx.orm.insert(wabas).values({ workspaceId, ...row })
    await tx.orm.insert(flowKeys).values({ workspaceId, wabaId, status: 'active', ...flowKey })
    if (newAppSecrets.length > 0) {
      await tx.orm.insert(appSecrets).values(newAppSecrets.map((secret) => ({ workspaceId, wabaId, ...secret })))
    }
    return only(await selectWabas(tx, workspaceId, eq(wabas.wabaId, wabaId), 1))
  })
}

/** An id belongs to one workspace at a time (contract.md §1). A concurrent claim is waited for. */
async function claimWabaId(tx: Transaction, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  const claimed = await tx.orm.insert(wabaDirectory).values({ wabaId, workspaceId }).onConflictDoNothing().returning()
  if (claimed.length === 0) throw wabaTaken()
}

const wabaTaken = () => new ApiError('waba_taken', 'wabaId: this WABA already belongs to a workspace')

/** What insertWaba would find, for whoever first makes a flow key, which takes long. Throws ApiError `waba_taken`, `limit_reached`. */
export function requireClaimable(queryable: Queryable, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  return storing('look whether WABA is free', async () => {
    const ofId = eq(wabaDirectory.wabaId, wabaId)
    const taken = await queryable.orm.select({ wabaId: wabaDirectory.wabaId }).from(wabaDirectory).where(ofId)
    if (taken.length > 0) throw wabaTaken()
    await requireRoom(queryable, workspaceId)
  })
}

async function requireRoom({ orm }: Queryable, workspaceId: WorkspaceId): Promise<void> {
  const { held } = only(await orm.select({ held: count() }).from(wabas).where(eq(wabas.workspaceId, workspaceId)))
  if (held >= mostWabas) {
    throw new ApiError('limit_reached', `a workspace has at most ${mostWabas} WABAs: remove one first`)
  }
}

/** What is left out stays as it is; null empties. */
export interface WabaMembers {
  readonly name?: string | null | undefined
  readonly verified?: boolean | undefined
  readonly requireTokenSignature?: boolean | undefined
  readonly accessTokenSealed?: Buffer | null | undefined
  readonly verifyTokenSealed?: Buffer | null | undefined
}

/** Throws ApiError `not_found`. */
export function updateWaba(
  database: Database,
  workspaceId: WorkspaceId,
  wabaId: string,
  members: WabaMembers,
): Promise<Waba> {
  return changeConfig(database, workspaceId, 'update WABA', (tx) => applyToWaba(tx, workspaceId, wabaId, members))
}

/** The same as a part of a change of configuration. */
export async function applyToWaba(
  tx: Transaction,
  workspaceId: WorkspaceId,
  wabaId: string,
  members: WabaMembers,
): Promise<Waba> {
  await tx.orm
    .update(wabas)
    .set({ ...members, updatedAt: sql`now()` })
    .where(and(eq(wabas.workspaceId, workspaceId), eq(wabas.wabaId, wabaId)))
  return existing(await selectWabas(tx, workspaceId, eq(wabas.wabaId, wabaId), 1), 'WABA')
}

/** Removes a WABA with its secrets, keys, channels and flows; its id can be claimed again. Throws ApiError `not_found`. */
export function deleteWaba(database: Database, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  return changeConfig(database, workspaceId, 'delete WABA', async (tx) => {
    const where = and(eq(wabas.workspaceId, workspaceId), eq(wabas.wabaId, wabaId))
    existing(await tx.orm.delete(wabas).where(where).returning({ wabaId: wabas.wabaId }), 'WABA')
    await tx.orm.delete(wabaDirectory).where(eq(wabaDirectory.wabaId, wabaId))
  })
}

/** The sealed access token; null without one, undefined where there is no such WABA. */
export function findAccessToken(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  wabaId: string,
): Promise<Buffer | null | undefined> {
  return storing('find access token', async () => {
    const where = and(eq(wabas.workspaceId, workspaceId), eq(wabas.wabaId, wabaId))
    const [row] = await queryable.orm.select({ sealed: wabas.accessTokenSealed }).from(wabas).where(where)
    return row?.sealed
  })
}

export function findWaba(queryable: Queryable, workspaceId: WorkspaceId, wabaId: string): Promise<Waba | null> {
  return storing('find WABA', async () => {
    const [waba] = await selectWabas(queryable, workspaceId, eq(wabas.wabaId, wabaId), 1)
    return waba ?? null
  })
}

export function wabaExists(queryable: Queryable, workspaceId: WorkspaceId, wabaId: string): Promise<boolean> {
  return storing('find WABA id', async () => {
    const where = and(eq(wabas.workspaceId, workspaceId), eq(wabas.wabaId, wabaId))
    const rows = await queryable.orm.select({ wabaId: wabas.wabaId }).from(wabas).where(where)
    return rows.length > 0
  })
}

/** Where a page of WABAs begins: their ids are Meta's and say nothing of their age. */
export interface WabaPage {
  readonly limit: number
  readonly before: Pick<Waba, 'createdAt' | 'wabaId'> | null
}

/** Newest first. */
export function listWabas(queryable: Queryable, workspaceId: WorkspaceId, page: WabaPage): Promise<Waba[]> {
  const { before } = page
  const older = before
    ? sql`(${wabas.createdAt}, ${wabas.wabaId}) < (${before.createdAt.toISOString()}::timestamptz, ${before.wabaId})`
    : undefined
  return storing('list WABAs', () => selectWabas(queryable, workspaceId, older, page.limit))
}

const {
  workspaceId: _workspaceId,
  accessTokenSealed: _accessTokenSealed,
  verifyTokenSealed: _verifyTokenSealed,
  ...columns
} = getTableColumns(wabas)

async function selectWabas(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  condition: SQL | undefined,
  limit: number,
): Promise<Waba[]> {
  const rows = await queryable.orm
    .select({
      ...columns,
      hasAccessToken: sql<boolean>`${wabas.accessTokenSealed} is not null`,
      hasVerifyToken: sql<boolean>`${wabas.verifyTokenSealed} is not null`,
    })
    .from(wabas)
    .where(and(eq(wabas.workspaceId, workspaceId), condition))
    .orderBy(desc(wabas.createdAt), desc(wabas.wabaId))
    .limit(limit)
  if (rows.length === 0) return []
  const wabaIds = rows.map((row) => row.wabaId)
  const secretsOf = await selectAppSecrets(queryable, workspaceId, wabaIds)
  const keysOf = await selectFlowKeys(queryable, workspaceId, wabaIds)
  return rows.map((row) => ({
    ...row,
    appSecrets: secretsOf.get(row.wabaId) ?? [],
    flowKeys: keysOf.get(row.wabaId) ?? [],
  }))
}
