import { and, desc, eq, exists, getTableColumns, isNull, lt, type SQL, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing } from './database.ts'
import { webhookSecrets, webhooks } from './schema.ts'
import { changeConfig, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, headersSealed: _headersSealed, ...columns } = getTableColumns(webhooks)

/** A webhook as it can be shown: of its headers the names, of its signing secrets whether there is one. */
export type Webhook = Omit<typeof webhooks.$inferSelect, 'workspaceId' | 'headersSealed'> & {
  readonly signed: boolean
}

/** Header values and signing secret are sealed before they come here. */
export type NewWebhook = Omit<typeof webhooks.$inferSelect, 'workspaceId' | 'createdAt' | 'updatedAt'>
export interface NewSigningSecret {
  readonly id: string
  readonly signingSecretSealed: Buffer
}

/** Stores a webhook and its current signing secret; null leaves it unsigned. */
export function insertWebhook(
  database: Database,
  workspaceId: WorkspaceId,
  webhook: NewWebhook,
  signingSecret: NewSigningSecret | null,
): Promise<Webhook> {
  return changeConfig(database, workspaceId, 'insert webhook', async (tx) => {
    await tx.orm.insert(webhooks).values({ workspaceId, ...webhook })
    if (signingSecret) {
      await tx.orm.insert(webhookSecrets).values({ workspaceId, webhookId: webhook.id, ...signingSecret })
    }
    return only(await selectWebhooks(tx, workspaceId, eq(webhooks.id, webhook.id), 1))
  })
}

export function findWebhook(queryable: Queryable, workspaceId: WorkspaceId, id: string): Promise<Webhook | null> {
  return storing('find webhook', async () => {
    const [row] = await selectWebhooks(queryable, workspaceId, eq(webhooks.id, id), 1)
    return row ?? null
  })
}

/** Newest first. */
export function listWebhooks(queryable: Queryable, workspaceId: WorkspaceId, page: Page): Promise<Webhook[]> {
  const older = page.before === null ? undefined : lt(webhooks.id, page.before)
  return storing('list webhooks', () => selectWebhooks(queryable, workspaceId, older, page.limit))
}

function selectWebhooks(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  condition: SQL | undefined,
  limit: number,
): Promise<Webhook[]> {
  const currentSecret = queryable.orm
    .select({ id: webhookSecrets.id })
    .from(webhookSecrets)
    .where(
      and(
        eq(webhookSecrets.workspaceId, webhooks.workspaceId),
        eq(webhookSecrets.webhookId, webhooks.id),
        isNull(webhookSecrets.expiresAt),
      ),
    )
  return queryable.orm
    .select({ ...columns, signed: sql<boolean>`${exists(currentSecret)}` })
    .from(webhooks)
    .where(and(eq(webhooks.workspaceId, workspaceId), condition))
    .orderBy(desc(webhooks.id))
    .limit(limit)
}
