import { and, eq, getTableColumns, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Database, Transaction } from './database.ts'
import { appSecrets, channels, flowKeys, flows, wabaDirectory, wabas } from './schema.ts'
import { applyToWaba, type Waba, type WabaMembers } from './wabas.ts'
import { changeConfigs, existing } from './workspaces.ts'

/** Opens a value that was sealed for the old workspace and seals it for the new one. Throws where it does not open. */
export type Reseal = (purpose: WabaSecret, rowId: string, sealed: Buffer) => Buffer
export type WabaSecret = 'access_token' | 'verify_token' | 'app_secret' | 'flow_key'

export interface WabaMove {
  readonly wabaId: string
  readonly from: WorkspaceId
  readonly to: WorkspaceId
  /** What changes besides; secrets among it are sealed for `from`. */
  readonly members: WabaMembers
  readonly reseal: Reseal
}

/**
 * Moves a WABA with its secrets, keys, channels and flows into another workspace. Rows are written anew and the old ones removed: a
 * row's workspace says on which shard it lies and never changes. Throws ApiError `not_found`, and `already_exists` where the new
 * workspace has a channel of one of its phone numbers.
 */
export function moveWaba(database: Database, move: WabaMove): Promise<Waba> {
  const { wabaId, from, to } = move
  // The new workspace is hinted at first: a relay that holds the WABA there already keeps it when the old one drops it.
  return changeConfigs(database, [to, from], 'move WABA', async (tx) => {
    await applyToWaba(tx, from, wabaId, move.members)
    await copyWaba(tx, move)
    await copyAppSecrets(tx, move)
    await copyFlowKeys(tx, move)
    await copyChannels(tx, move)
    await copyFlows(tx, move)
    await tx.orm.delete(wabas).where(and(eq(wabas.workspaceId, from), eq(wabas.wabaId, wabaId)))
    await tx.orm.update(wabaDirectory).set({ workspaceId: to }).where(eq(wabaDirectory.wabaId, wabaId))
    return applyToWaba(tx, to, wabaId, {})
  })
}

async function copyWaba(tx: Transaction, { wabaId, from, to, reseal }: WabaMove): Promise<void> {
  const rows = await tx.orm
    .select()
    .from(wabas)
    .where(and(eq(wabas.workspaceId, from), eq(wabas.wabaId, wabaId)))
  const row = existing(rows, 'WABA')
  const { accessTokenSealed, verifyTokenSealed } = row
  await tx.orm.insert(wabas).values({
    ...row,
    workspaceId: to,
    accessTokenSealed: accessTokenSealed && reseal('access_token', wabaId, accessTokenSealed),
    verifyTokenSealed: verifyTokenSealed && reseal('verify_token', wabaId, verifyTokenSealed),
  })
}

async function copyAppSecrets(tx: Transaction, { wabaId, from, to, reseal }: WabaMove): Promise<void> {
  const ofWaba = and(eq(appSecrets.workspaceId, from), eq(appSecrets.wabaId, wabaId))
  const moved = (await tx.orm.select().from(appSecrets).where(ofWaba)).map((row) => ({
    ...row,
    workspaceId: to,
    appSecretSealed: reseal('app_secret', row.id, row.appSecretSealed),
  }))
  if (moved.length > 0) await tx.orm.insert(appSecrets).values(moved)
}

async function copyFlowKeys(tx: Transaction, { wabaId, from, to, reseal }: WabaMove): Promise<void> {
  const ofWaba = and(eq(flowKeys.workspaceId, from), eq(flowKeys.wabaId, wabaId))
  const moved = (await tx.orm.select().from(flowKeys).where(ofWaba)).map((row) => ({
    ...row,
    workspaceId: to,
    privateKeySealed: row.privateKeySealed && reseal('flow_key', row.id, row.privateKeySealed),
  }))
  if (moved.length > 0) await tx.orm.insert(flowKeys).values(moved)
}

async function copyChannels(tx: Transaction, { wabaId, from, to }: WabaMove): Promise<void> {
  const ofWaba = and(eq(channels.workspaceId, from), eq(channels.wabaId, wabaId))
  const rows = await tx.orm.select().from(channels).where(ofWaba)
  if (rows.length === 0) return
  const moved = rows.map((row) => ({ ...row, workspaceId: to }))
  const copied = await tx.orm.insert(channels).values(moved).onConflictDoNothing().returning({ id: channels.id })
  if (copied.length < rows.length) {
    throw new ApiError('already_exists', 'workspaceId: this workspace has a channel of one of the phone numbers')
  }
}

/** Inside the database: a Flow JSON may have 10 MB. */
async function copyFlows(tx: Transaction, { wabaId, from, to }: WabaMove): Promise<void> {
  const { workspaceId: _workspaceId, ...columns } = getTableColumns(flows)
  await tx.orm.insert(flows).select(
    tx.orm
      .select({ workspaceId: sql<WorkspaceId>`${to}`.as('workspace_id'), ...columns })
      .from(flows)
      .where(and(eq(flows.workspaceId, from), eq(flows.wabaId, wabaId))),
  )
}
