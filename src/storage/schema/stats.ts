import { sql } from 'drizzle-orm'
import { index, integer, pgTable, primaryKey, smallint, text, uuid } from 'drizzle-orm/pg-core'
import type { Outcome } from '../../domain/outcome.ts'
import type { SpanMinutes } from '../../domain/stats.ts'
import { time, workspaceId } from './columns.ts'

/** Exchanges by the five minutes, hour and day that their ids begin with: counts, and histograms (domain/histogram.ts) of their times. */
export const exchangeStats = pgTable(
  'exchange_stats',
  {
    workspaceId: workspaceId(),
    minutes: smallint('minutes').$type<SpanMinutes>().notNull(),
    startsAt: time('starts_at').notNull(),
    /** Empty, as `webhook_id`, where the exchange has none: they are of the key. */
    flowId: text('flow_id').notNull(),
    webhookId: text('webhook_id').notNull(),
    outcome: text('outcome').$type<Outcome>().notNull(),
    exchanges: integer('exchanges').notNull(),
    lateReplies: integer('late_replies').notNull(),
    // Buckets in order that hold anything, and how many each holds.
    totalBuckets: smallint('total_buckets').array().notNull(),
    totalCounts: integer('total_counts').array().notNull(),
    webhookBuckets: smallint('webhook_buckets').array().notNull(),
    webhookCounts: integer('webhook_counts').array().notNull(),
  },
  (t) => [
    // Its made-up name would be longer than PostgreSQL's are.
    primaryKey({
      name: 'exchange_stats_pk',
      columns: [t.workspaceId, t.minutes, t.startsAt, t.flowId, t.webhookId, t.outcome],
    }),
    index('exchange_stats_age').on(t.startsAt),
  ],
)

/**
 * Five minutes to be rolled up again: their rows changed later. One row for each change and no unique span, so that writers of rows
 * never wait for the roll-up.
 */
export const exchangeStatsStale = pgTable(
  'exchange_stats_stale',
  {
    workspaceId: workspaceId(),
    startsAt: time('starts_at').notNull(),
    id: uuid('id').notNull().default(sql`gen_random_uuid()`),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.startsAt, t.id] })],
)

/** Until when exchanges are rolled up, all workspaces alike. One row; an operator table. */
export const exchangeStatsFrontier = pgTable('exchange_stats_frontier', {
  name: text('name').primaryKey(),
  rolledUpUntil: time('rolled_up_until').notNull(),
})
