import { and, desc, eq, getTableColumns, lt, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing } from './database.ts'
import { apiKeys } from './schema.ts'
import { existing, only, type Page } from './workspaces.ts'

export const apiKeyScopes = ['read', 'write'] as const
export type ApiKeyScope = (typeof apiKeyScopes)[number]

const { workspaceId: _workspaceId, keyDigest: _keyDigest, ...columns } = getTableColumns(apiKeys)

/** A workspace's API key as it can be shown: neither the key nor its digest. */
export type ApiKey = Omit<typeof apiKeys.$inferSelect, 'workspaceId' | 'keyDigest'>

export interface NewApiKey {
  readonly id: string
  readonly name: string
  /** SHA-256 of the whole key. */
  readonly keyDigest: Buffer
  /** The part of the key that is shown in lists. */
  readonly keyPrefix: string
  readonly scopes: ApiKeyScope[]
}

export function insertApiKey(queryable: Queryable, workspaceId: WorkspaceId, key: NewApiKey): Promise<ApiKey> {
  return storing('insert API key', async () =>
    only(
      await queryable.orm
        .insert(apiKeys)
        .values({ workspaceId, ...key })
        .returning(columns),
    ),
  )
}

/** Newest first. */
export function listApiKeys(queryable: Queryable, workspaceId: WorkspaceId, page: Page): Promise<ApiKey[]> {
  return storing('list API keys', () =>
    queryable.orm
      .select(columns)
      .from(apiKeys)
      .where(and(eq(apiKeys.workspaceId, workspaceId), page.before === null ? undefined : lt(apiKeys.id, page.before)))
      .orderBy(desc(apiKeys.id))
      .limit(page.limit),
  )
}

/** From now on nothing is found under its digest. Throws ApiError `not_found`. */
export function deleteApiKey(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<void> {
  return storing('delete API key', async () => {
    const where = and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, id))
    existing(await queryable.orm.delete(apiKeys).where(where).returning({ id: apiKeys.id }), 'API key')
  })
}

/** The key with this digest, read at each call so that a revoked key is dead at once (contract.md §6). */
export function findApiKey(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  keyDigest: Buffer,
): Promise<Pick<ApiKey, 'id' | 'scopes' | 'lastUsedAt'> | null> {
  return storing('find API key', async () => {
    const [row] = await queryable.orm
      .select({ id: apiKeys.id, scopes: apiKeys.scopes, lastUsedAt: apiKeys.lastUsedAt })
      .from(apiKeys)
      .where(and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.keyDigest, keyDigest)))
    return row ?? null
  })
}

/** Notes that a key was used, at most once a minute however many processes try. */
export function touchApiKey(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<void> {
  const stale = sql`(${apiKeys.lastUsedAt} is null or ${apiKeys.lastUsedAt} < now() - interval '1 minute')`
  return storing('touch API key', async () => {
    await queryable.orm
      .update(apiKeys)
      .set({ lastUsedAt: sql`now()` })
      .where(and(eq(apiKeys.workspaceId, workspaceId), eq(apiKeys.id, id), stale))
  })
}
