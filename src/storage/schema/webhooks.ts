import { boolean, foreignKey, index, integer, json, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import type { WebhookFallback, WebhookFormat } from '../../domain/webhook.ts'
import { bytes, createdAt, time, updatedAt, workspaceId } from './columns.ts'
import { owner } from './workspaces.ts'

export const webhooks = pgTable(
  'webhooks',
  {
    workspaceId: owner(),
    id: text('id').notNull(),
    name: text('name').notNull(),
    url: text('url').notNull(),
    events: text('events').array().notNull(),
    active: boolean('active').notNull(),
    headersSealed: bytes('headers_sealed'),
    headerNames: text('header_names').array().notNull(),
    flowIds: text('flow_ids').array(),
    timeoutMs: integer('timeout_ms'),
    fallback: json('fallback').$type<WebhookFallback>(),
    format: text('format').$type<WebhookFormat>().notNull(),
    breakerMode: text('breaker_mode').$type<'on' | 'off'>().notNull(),
    /** Since when asynchronous deliveries are stopped: contract.md §4. */
    deliveriesDisabledAt: time('deliveries_disabled_at'),
    /** Since when every attempt of an asynchronous delivery failed; null after a success. */
    failingSince: time('failing_since'),
    failureWarnedAt: time('failure_warned_at'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.id] })],
)

/** A webhook's signing secrets: the one without an end is the current one, the others live until their grace period ends. */
export const webhookSecrets = pgTable(
  'webhook_secrets',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    webhookId: text('webhook_id').notNull(),
    signingSecretSealed: bytes('signing_secret_sealed').notNull(),
    expiresAt: time('expires_at'),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    foreignKey({
      columns: [t.workspaceId, t.webhookId],
      foreignColumns: [webhooks.workspaceId, webhooks.id],
    }).onDelete('cascade'),
    index('webhook_secrets_of_webhook').on(t.workspaceId, t.webhookId),
  ],
)
