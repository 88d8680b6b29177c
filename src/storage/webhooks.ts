import { and, count, desc, eq, exists, getTableColumns, isNull, lt, type SQL, sql } from 'drizzle-orm'
import { healthy } from '../domain/delivery.ts'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Database, type Queryable, storing, type Transaction } from './database.ts'
import { webhookSecrets, webhooks } from './schema.ts'
import { type ListedBreaker, listedBreakers } from './webhook-breakers.ts'
import { changeConfig, existing, only, type Page } from './workspaces.ts'

const { workspaceId: _workspaceId, headersSealed: _headersSealed, ...columns } = getTableColumns(webhooks)

/** A webhook as it can be shown: of its headers the names, of its signing secrets whether there is one. */
export type Webhook = Omit<typeof webhooks.$inferSelect, 'workspaceId' | 'headersSealed'> & {
  readonly signed: boolean
  /** Of every process whose breaker for it is not closed. */
  readonly breakers: readonly ListedBreaker[]
}

/** Header values and signing secret are sealed before they come here. */
export type NewWebhook = Omit<
  typeof webhooks.$inferSelect,
  | 'workspaceId'
  | 'createdAt'
  | 'updatedAt'
  | 'breakerClosedAt'
  | 'deliveriesDisabledAt'
  | 'failingSince'
  | 'failureWarnedAt'
>
export interface NewSigningSecret {
  readonly id: string
  readonly signingSecretSealed: Buffer
}

/** Of one exchange each that takes its event is told, with an envelope of up to 700 kB that is written for it alone. */
export const mostWebhooks = 500

/** Stores a webhook and its current signing secret; null leaves it unsigned. Throws ApiError `limit_reached`. */
export function insertWebhook(
  database: Database,
  workspaceId: WorkspaceId,
  webhook: NewWebhook,
  signingSecret: NewSigningSecret | null,
): Promise<Webhook> {
  return changeConfig(database, workspaceId, 'insert webhook', async (tx) => {
    const ofWorkspace = eq(webhooks.workspaceId, workspaceId)
    const { held } = only(await tx.orm.select({ held: count() }).from(webhooks).where(ofWorkspace))
    if (held >= mostWebhooks) {
      throw new ApiError('limit_reached', `a workspace has at most ${mostWebhooks} webhooks: delete one first`)
    }
    await tx.orm.insert(webhooks).values({ workspaceId, ...webhook })
    if (signingSecret) {
      await tx.orm.insert(webhookSecrets).values({ workspaceId, webhookId: webhook.id, ...signingSecret })
    }
    return only(await selectWebhooks(tx, workspaceId, eq(webhooks.id, webhook.id), 1))
  })
}

/** What is left out stays as it is; null empties. Header values are sealed, and their names go with them. */
export type WebhookMembers = { readonly [Member in keyof Omit<NewWebhook, 'id'>]?: NewWebhook[Member] | undefined } & {
  /** Deliveries that were stopped are made again. */
  readonly deliveriesDisabledAt?: null | undefined
  /** The breaker closes in every process that reads this. */
  readonly breakerClosedAt?: Date | undefined
}

/** Throws ApiError `not_found`. */
export function updateWebhook(
  database: Database,
  workspaceId: WorkspaceId,
  id: string,
  members: WebhookMembers,
): Promise<Webhook> {
  return changeConfig(database, workspaceId, 'update webhook', (tx) => applyToWebhook(tx, workspaceId, id, members))
}

/** The same as a part of a change of configuration. */
export async function applyToWebhook(
  tx: Transaction,
  workspaceId: WorkspaceId,
  id: string,
  members: WebhookMembers,
): Promise<Webhook> {
  await tx.orm
    .update(webhooks)
    .set({ ...members, ...(members.deliveriesDisabledAt === null ? healthy : {}), updatedAt: sql`now()` })
    .where(and(eq(webhooks.workspaceId, workspaceId), eq(webhooks.id, id)))
  return existing(await selectWebhooks(tx, workspaceId, eq(webhooks.id, id), 1), 'webhook')
}

/** With its signing secrets. What named it keeps its id. Throws ApiError `not_found`. */
export function deleteWebhook(database: Database, workspaceId: WorkspaceId, id: string): Promise<void> {
  return changeConfig(database, workspaceId, 'delete webhook', async (tx) => {
    const where = and(eq(webhooks.workspaceId, workspaceId), eq(webhooks.id, id))
    existing(await tx.orm.delete(webhooks).where(where).returning({ id: webhooks.id }), 'webhook')
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
    .select({
      ...columns,
      signed: sql<boolean>`${exists(currentSecret)}`,
      breakers: listedBreakers(queryable, workspaceId),
    })
    .from(webhooks)
    .where(and(eq(webhooks.workspaceId, workspaceId), condition))
    .orderBy(desc(webhooks.id))
    .limit(limit)
}
