import { boolean, foreignKey, index, integer, json, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import type { BreakerState, WebhookFallback, WebhookFormat } from '../../domain/webhook.ts'
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
    /** When the breaker was last closed by hand. */
    breakerClosedAt: time('breaker_closed_at'),
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

/**
 * The breakers that are not closed, as each process last told of its own. No reference to the webhook: a process that has not yet heard
 * that one is gone must not fail to write the others.
 */
export const webhookBreakers = pgTable(
  'webhook_breakers',
  {
    workspaceId: workspaceId(),
    webhookId: text('webhook_id').notNull(),
    /** A name that the process made for itself. */
    process: text('process').notNull(),
    state: text('state').$type<Exclude<BreakerState, 'closed'>>().notNull(),
    since: time('since').notNull(),
    /** When the process last said so, by the database's clock. */
    seenAt: time('seen_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.webhookId, t.process] })],
)
