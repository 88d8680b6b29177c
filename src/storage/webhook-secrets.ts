import { and, count, desc, eq, isNotNull, isNull, lte, type SQL, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { StoredWebhook } from './account-config.ts'
import { type Database, type Queryable, storing, type Transaction } from './database.ts'
import { webhookSecrets, webhooks } from './schema.ts'
import { applyToWebhook, type NewSigningSecret, type Webhook } from './webhooks.ts'
import { changeConfig, only } from './workspaces.ts'

export interface Rotation {
  /** The new current secret; null: requests are no longer signed once the old secrets have ended. */
  readonly signingSecret: NewSigningSecret | null
  readonly now: Date
  /** How long the secret that was current still signs beside the new one. */
  readonly graceMs: number
}

/** Each request is signed with every live secret. */
export const mostPreviousSecrets = 10

/**
 * Puts a new signing secret in the place of the current one, which ends after its grace period, as earlier ones do after theirs;
 * those that have ended are removed. Throws ApiError `not_found`, `limit_reached`.
 */
export function rotateSigningSecret(
  database: Database,
  workspaceId: WorkspaceId,
  webhookId: string,
  { signingSecret, now, graceMs }: Rotation,
): Promise<Webhook> {
  return changeConfig(database, workspaceId, 'rotate webhook secret', async (tx) => {
    const webhook = await applyToWebhook(tx, workspaceId, webhookId, {})
    const ofWebhook = and(eq(webhookSecrets.workspaceId, workspaceId), eq(webhookSecrets.webhookId, webhookId))
    await tx.orm.delete(webhookSecrets).where(and(ofWebhook, lte(webhookSecrets.expiresAt, now)))
    await endCurrent(tx, ofWebhook, now, graceMs)
    if (signingSecret) await tx.orm.insert(webhookSecrets).values({ workspaceId, webhookId, ...signingSecret })
    return { ...webhook, signed: signingSecret !== null }
  })
}

async function endCurrent(tx: Transaction, ofWebhook: SQL | undefined, now: Date, graceMs: number): Promise<void> {
  const current = and(ofWebhook, isNull(webhookSecrets.expiresAt))
  if (graceMs === 0) {
    await tx.orm.delete(webhookSecrets).where(current)
    return
  }
  const expiresAt = new Date(now.getTime() + graceMs)
  await tx.orm.update(webhookSecrets).set({ expiresAt }).where(current)
  const previous = and(ofWebhook, isNotNull(webhookSecrets.expiresAt))
  const { held } = only(await tx.orm.select({ held: count() }).from(webhookSecrets).where(previous))
  if (held <= mostPreviousSecrets) return
  const advice = 'wait for one to end, or rotate with graceSeconds 0'
  throw new ApiError('limit_reached', `${mostPreviousSecrets} earlier secrets are in their grace period: ${advice}`)
}

/** A webhook as a request to it needs it, sealed values sealed. */
export type SendableWebhook = Pick<
  StoredWebhook,
  'id' | 'url' | 'events' | 'timeoutMs' | 'format' | 'headersSealed' | 'signingSecrets'
>

/** Its signing secrets in the order of StoredWebhook: the current one first, then the newest of those in their grace period. */
export function findSendableWebhook(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
): Promise<SendableWebhook | null> {
  const ofWorkspace = eq(webhooks.workspaceId, workspaceId)
  return storing('find sendable webhook', async () => {
    const [webhook] = await queryable.orm
      .select({
        id: webhooks.id,
        url: webhooks.url,
        events: webhooks.events,
        timeoutMs: webhooks.timeoutMs,
        format: webhooks.format,
        headersSealed: webhooks.headersSealed,
      })
      .from(webhooks)
      .where(and(ofWorkspace, eq(webhooks.id, id)))
    if (webhook === undefined) return null
    const signingSecrets = await queryable.orm
      .select({
        id: webhookSecrets.id,
        sealed: webhookSecrets.signingSecretSealed,
        expiresAt: webhookSecrets.expiresAt,
      })
      .from(webhookSecrets)
      .where(and(eq(webhookSecrets.workspaceId, workspaceId), eq(webhookSecrets.webhookId, id)))
      .orderBy(sql`${webhookSecrets.expiresAt} is null desc`, desc(webhookSecrets.id))
    return { ...webhook, events: webhook.events as StoredWebhook['events'], signingSecrets }
  })
}
