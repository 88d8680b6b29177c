import { and, desc, eq, inArray, type SQL, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing, type Transaction } from './database.ts'
import { appSecrets, flowKeys, wabaDirectory, wabas } from './schema.ts'
import { changeConfig, only } from './workspaces.ts'

/** A WABA as it can be shown: of its secrets only that they are there. Lists newest first. */
export interface Waba {
  readonly wabaId: string
  readonly name: string | null
  readonly verified: boolean
  readonly hasAccessToken: boolean
  readonly appSecrets: readonly AppSecretFacts[]
  readonly flowKeys: readonly FlowKeyFacts[]
  readonly createdAt: Date
  readonly updatedAt: Date
}

export interface AppSecretFacts {
  readonly id: string
  readonly createdAt: Date
}

export interface FlowKeyFacts {
  readonly id: string
  readonly fingerprint: string
  readonly status: 'active' | 'retired'
  /** SPKI PEM. */
  readonly publicKey: string
  readonly createdAt: Date
}

/** Every secret is sealed before it comes here. */
export interface NewWaba {
  readonly wabaId: string
  readonly name: string | null
  readonly verified: boolean
  readonly accessTokenSealed: Buffer | null
  readonly appSecrets: readonly { readonly id: string; readonly appSecretSealed: Buffer }[]
  readonly flowKey: {
    readonly id: string
    readonly privateKeySealed: Buffer
    readonly publicKey: string
    readonly fingerprint: string
  }
}

/** Claims the id, then stores the WABA with its secrets and first flow key. Throws ApiError `waba_taken`. */
export function insertWaba(database: Database, workspaceId: WorkspaceId, waba: NewWaba): Promise<Waba> {
  const { wabaId, name, verified, accessTokenSealed } = waba
  return changeConfig(database, workspaceId, 'insert WABA', async (tx) => {
    await claimWabaId(tx, workspaceId, wabaId)
    await tx.orm.insert(wabas).values({ workspaceId, wabaId, name, verified, accessTokenSealed })
    await tx.orm.insert(flowKeys).values({ workspaceId, wabaId, status: 'active', ...waba.flowKey })
    if (waba.appSecrets.length > 0) {
      await tx.orm.insert(appSecrets).values(waba.appSecrets.map((secret) => ({ workspaceId, wabaId, ...secret })))
    }
    return only(await selectWabas(tx, workspaceId, eq(wabas.wabaId, wabaId), 1))
  })
}

/** An id belongs to one workspace at a time (contract.md §1). A concurrent claim is waited for. */
async function claimWabaId(tx: Transaction, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  const claimed = await tx.orm.insert(wabaDirectory).values({ wabaId, workspaceId }).onConflictDoNothing().returning()
  if (claimed.length === 0) throw new ApiError('waba_taken', 'wabaId: this WABA already belongs to a workspace')
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

async function selectWabas(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  condition: SQL | undefined,
  limit: number,
): Promise<Waba[]> {
  const rows = await queryable.orm
    .select({
      wabaId: wabas.wabaId,
      name: wabas.name,
      verified: wabas.verified,
      hasAccessToken: sql<boolean>`${wabas.accessTokenSealed} is not null`,
      createdAt: wabas.createdAt,
      updatedAt: wabas.updatedAt,
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

async function selectAppSecrets(queryable: Queryable, workspaceId: WorkspaceId, wabaIds: string[]) {
  const rows = await queryable.orm
    .select({ wabaId: appSecrets.wabaId, id: appSecrets.id, createdAt: appSecrets.createdAt })
    .from(appSecrets)
    .where(and(eq(appSecrets.workspaceId, workspaceId), inArray(appSecrets.wabaId, wabaIds)))
    .orderBy(desc(appSecrets.id))
  return Map.groupBy(rows, (row) => row.wabaId)
}

async function selectFlowKeys(queryable: Queryable, workspaceId: WorkspaceId, wabaIds: string[]) {
  const rows = await queryable.orm
    .select({
      wabaId: flowKeys.wabaId,
      id: flowKeys.id,
      fingerprint: flowKeys.fingerprint,
      status: flowKeys.status,
      publicKey: flowKeys.publicKey,
      createdAt: flowKeys.createdAt,
    })
    .from(flowKeys)
    .where(and(eq(flowKeys.workspaceId, workspaceId), inArray(flowKeys.wabaId, wabaIds)))
    .orderBy(desc(flowKeys.id))
  return Map.groupBy(rows, (row) => row.wabaId)
}
