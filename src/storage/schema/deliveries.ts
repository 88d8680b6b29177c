import { sql } from 'drizzle-orm'
import { doublePrecision, index, integer, json, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import type { DeliveryReason, DeliveryStatus } from '../../domain/delivery.ts'
import type { WebhookEvent } from '../../domain/events.ts'
import type { AttemptFailure } from '../../domain/failure.ts'
import { bytes, time, workspaceId } from './columns.ts'

/**
 * The duty to hand one envelope to one webhook, asynchronously. No foreign keys: it is made in the transaction of what it tells of, and
 * outlives the webhook. Partitioned by day: the id begins with its time.
 */
export const deliveries = pgTable(
  'deliveries',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull(),
    webhookId: text('webhook_id').notNull(),
    /** The envelope's id. */
    eventId: uuid('event_id').notNull(),
    event: text('event').$type<WebhookEvent>().notNull(),
    /** The envelope's: a flow token, or the id of a flow. */
    resourceId: text('resource_id'),
    /** The envelope's timestamp. */
    occurredAt: time('occurred_at').notNull(),
    /** The exact bytes of every attempt; null once emptied. */
    envelope: bytes('envelope'),
    flowId: text('flow_id'),
    // Whose it is, for the expunge.
    clientId: text('client_id'),
    flowTokenDigest: bytes('flow_token_digest'),
    status: text('status').$type<DeliveryStatus>().notNull(),
    /** Why it ended without being delivered. */
    reason: text('reason').$type<DeliveryReason>(),
    attempts: integer('attempts').notNull().default(0),
    /** Failures since it was made or last redelivered: where it stands in the schedule. */
    failures: integer('failures').notNull().default(0),
    /** When the next attempt is due; null once it ended. */
    dueAt: time('due_at'),
    deliveredAt: time('delivered_at'),
    /** Of the last attempt. */
    lastStatus: integer('last_status'),
    lastFailure: text('last_failure').$type<AttemptFailure>(),
    createdAt: time('created_at').notNull(),
    updatedAt: time('updated_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    index('deliveries_waiting_of_webhook')
      .on(t.workspaceId, t.webhookId, t.id)
      .where(sql`${t.status} in ('pending', 'failed')`),
    // For the sweep that rings for deliveries whose alarm was lost.
    index('deliveries_due').on(t.dueAt).where(sql`${t.status} in ('pending', 'failed')`),
    index('deliveries_of_client').on(t.workspaceId, t.clientId).where(sql`${t.clientId} is not null`),
    index('deliveries_of_flow_token').on(t.workspaceId, t.flowTokenDigest).where(sql`${t.flowTokenDigest} is not null`),
  ],
)

/** One HTTP request made for a delivery. Partitioned by day: the id begins with its time. */
export const attempts = pgTable(
  'attempts',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull(),
    deliveryId: uuid('delivery_id').notNull(),
    /** 1 for the first. */
    number: integer('number').notNull(),
    status: integer('status'),
    failure: text('failure').$type<AttemptFailure>(),
    durationMs: doublePrecision('duration_ms').notNull(),
    connectMs: doublePrecision('connect_ms'),
    headMs: doublePrecision('head_ms'),
    /** Of the response's body, kept or not. */
    bytes: integer('bytes').notNull(),
    responseHeaders: json('response_headers').$type<Readonly<Record<string, string | string[]>>>(),
    /** The first 4 KiB. */
    responseBody: bytes('response_body'),
    createdAt: time('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    index('attempts_of_delivery').on(t.workspaceId, t.deliveryId, t.id),
  ],
)
