import type postgres from 'postgres'
import type { DeliveryHealth } from '../domain/delivery.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { SealedRow } from './account-config.ts'
import { texts } from './arrays.ts'
import { storing } from './database.ts'

/** A webhook as an asynchronous delivery needs it; what is sealed stays sealed. */
export interface DeliveryWebhook extends DeliveryHealth {
  readonly workspaceId: WorkspaceId
  readonly id: string
  readonly url: string
  readonly active: boolean
  readonly headersSealed: Buffer | null
  /** The current one (no end) first, then those in their grace period, newest first. */
  readonly signingSecrets: readonly (SealedRow & { readonly expiresAt: Date | null })[]
}

interface WebhookName {
  readonly workspaceId: string
  readonly webhookId: string
}

/** Of these webhooks those that are there. Throws StorageError. */
export function loadDeliveryWebhooks(sql: postgres.Sql, names: readonly WebhookName[]): Promise<DeliveryWebhook[]> {
  return storing('load webhooks of deliveries', async () => {
    const named = sql`unnest(${texts(names, (n) => n.workspaceId)}::text[], ${texts(names, (n) => n.webhookId)}::text[])
      as t(workspace_id, webhook_id)`
    const [rows, secrets] = await Promise.all([
      sql`
        select w.workspace_id, w.id, w.url, w.active, w.headers_sealed, w.failing_since, w.failure_warned_at, w.deliveries_disabled_at
        from ${named} join webhooks w on w.workspace_id = t.workspace_id and w.id = t.webhook_id`,
      sql`
        select s.webhook_id, s.id, s.signing_secret_sealed, s.expires_at
        from ${named} join webhook_secrets s on s.workspace_id = t.workspace_id and s.webhook_id = t.webhook_id
        order by s.expires_at is null desc, s.id desc`,
    ])
    const secretsOf = Map.groupBy(secrets, (row) => row.webhook_id as string)
    return rows.map((row) => ({
      workspaceId: row.workspace_id as WorkspaceId,
      id: row.id as string,
      url: row.url as string,
      active: row.active as boolean,
      headersSealed: row.headers_sealed as Buffer | null,
      failingSince: row.failing_since as Date | null,
      failureWarnedAt: row.failure_warned_at as Date | null,
      deliveriesDisabledAt: row.deliveries_disabled_at as Date | null,
      signingSecrets: (secretsOf.get(row.id as string) ?? []).map((secret) => ({
        id: secret.id as string,
        sealed: secret.signing_secret_sealed as Buffer,
        expiresAt: secret.expires_at as Date | null,
      })),
    }))
  })
}
