import { and, desc, eq, getTableColumns, inArray, lt } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing } from './database.ts'
import { appSecrets } from './schema.ts'
import { changeConfig, existing, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, appSecretSealed: _appSecretSealed, ...columns } = getTableColumns(appSecrets)

/** An app secret as it can be shown: that it is there. */
export type AppSecretFacts = Omit<typeof appSecrets.$inferSelect, 'workspaceId' | 'appSecretSealed'>

export interface NewAppSecret {
  readonly id: string
  readonly appSecretSealed: Buffer
}

/** Each is tried on every call of Meta until one fits, so a WABA cannot have any number of them. */
export const mostAppSecrets = 20

/** The WABA must be there. `isSame` opens what is stored. Throws ApiError `already_exists`, `limit_reached`. */
export function insertAppSecret(
  database: Database,
  workspaceId: WorkspaceId,
  wabaId: string,
  secret: NewAppSecret,
  isSame: (stored: NewAppSecret) => boolean,
): Promise<AppSecretFacts> {
  return changeConfig(database, workspaceId, 'insert app secret', async (tx) => {
    const ofWaba = and(eq(appSecrets.workspaceId, workspaceId), eq(appSecrets.wabaId, wabaId))
    const { id, appSecretSealed } = appSecrets
    const held = await tx.orm.select({ id, appSecretSealed }).from(appSecrets).where(ofWaba)
    // Of two alike, whoever removes one believes that calls signed with it are refused.
    if (held.some(isSame)) throw new ApiError('already_exists', 'appSecret: the WABA has this app secret')
    if (held.length >= mostAppSecrets) {
      throw new ApiError('limit_reached', `a WABA has at most ${mostAppSecrets} app secrets: delete one first`)
    }
    return only(
      await tx.orm
        .insert(appSecrets)
        .values({ workspaceId, wabaId, ...secret })
        .returning(columns),
    )
  })
}

/** Newest first. */
export function listAppSecrets(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  wabaId: string,
  page: Page,
): Promise<AppSecretFacts[]> {
  const older = page.before === null ? undefined : lt(appSecrets.id, page.before)
  return storing('list app secrets', () =>
    queryable.orm
      .select(columns)
      .from(appSecrets)
      .where(and(eq(appSecrets.workspaceId, workspaceId), eq(appSecrets.wabaId, wabaId), older))
      .orderBy(desc(appSecrets.id))
      .limit(page.limit),
  )
}

/** Throws ApiError `not_found`. */
export function deleteAppSecret(
  database: Database,
  workspaceId: WorkspaceId,
  wabaId: string,
  id: string,
): Promise<void> {
  return changeConfig(database, workspaceId, 'delete app secret', async (tx) => {
    const where = and(eq(appSecrets.workspaceId, workspaceId), eq(appSecrets.wabaId, wabaId), eq(appSecrets.id, id))
    existing(await tx.orm.delete(appSecrets).where(where).returning({ id: appSecrets.id }), 'app secret')
  })
}

/** Those of several WABAs, newest first, by WABA. */
export async function selectAppSecrets(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  wabaIds: readonly string[],
): Promise<Map<string, AppSecretFacts[]>> {
  const rows = await queryable.orm
    .select(columns)
    .from(appSecrets)
    .where(and(eq(appSecrets.workspaceId, workspaceId), inArray(appSecrets.wabaId, [...wabaIds])))
    .orderBy(desc(appSecrets.id))
  return Map.groupBy(rows, (row) => row.wabaId)
}
