import { sql } from 'drizzle-orm'
import { doublePrecision, index, jsonb, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core'
import type { FlowResponseStatus } from '../../domain/flow-response.ts'
import type { Outcome } from '../../domain/outcome.ts'
import { bytes, createdAt, time, updatedAt, workspaceId } from './columns.ts'

/** No foreign keys: an exchange makes these rows while the person waits, and a row outlives what it points to. */
export const flowResponses = pgTable(
  'flow_responses',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    flowToken: text('flow_token').notNull(),
    // SHA-256 of the token: a token of 4 kB does not fit into an index row.
    flowTokenDigest: bytes('flow_token_digest').notNull(),
    flowId: text('flow_id'),
    status: text('status').$type<FlowResponseStatus>().notNull(),
    // How the call that sent the flow ended; null for tokens that we did not send.
    sendStatus: text('send_status').$type<'sending' | 'sent' | 'failed' | 'unknown'>(),
    sentAt: time('sent_at'),
    openedAt: time('opened_at'),
    lastActivityAt: time('last_activity_at'),
    completedAt: time('completed_at'),
    // When Meta's `nfm_reply` confirmed the completion, which is told once; null until then.
    confirmedAt: time('confirmed_at'),
    expiresAt: time('expires_at').notNull(),
    clientId: text('client_id'),
    conversationId: text('conversation_id'),
    messageId: text('message_id'),
    // Whom Meta sent it to, where that is another number than the client's: `+55 11 9…` may be `+55 11 …` at Meta.
    metaPhoneNumber: text('meta_phone_number'),
    campaignId: text('campaign_id'),
    agentId: text('agent_id'),
    channelId: text('channel_id'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    unique('flow_responses_flow_token').on(t.workspaceId, t.flowTokenDigest),
    // For the expunge of a client.
    index('flow_responses_of_client').on(t.workspaceId, t.clientId).where(sql`${t.clientId} is not null`),
    index('flow_responses_of_conversation')
      .on(t.workspaceId, t.conversationId)
      .where(sql`${t.conversationId} is not null`),
    // An `nfm_reply` names the message that sent the flow (protocol.md 5.3).
    index('flow_responses_of_message').on(t.workspaceId, t.messageId).where(sql`${t.messageId} is not null`),
    // For the sweep that expires them.
    index('flow_responses_open').on(t.expiresAt).where(sql`${t.status} in ('SENT', 'IN_PROGRESS')`),
  ],
)

/** One row per call that decrypted. `outcome` is null until the row is closed. Partitioned by day: the id begins with its time. */
export const exchanges = pgTable(
  'exchanges',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull(),
    createdAt: time('created_at').notNull(),
    wabaId: text('waba_id').notNull(),
    event: text('event'),
    action: text('action'),
    screen: text('screen'),
    flowToken: text('flow_token'),
    flowTokenDigest: bytes('flow_token_digest'),
    flowId: text('flow_id'),
    clientId: text('client_id'),
    webhookId: text('webhook_id'),
    outcome: text('outcome').$type<Outcome>(),
    /** More on the outcome where there is: `interrupted` for a call whose process died. */
    reason: text('reason'),
    durationMs: doublePrecision('duration_ms'),
    webhookMs: doublePrecision('webhook_ms'),
    /** From dispatch to the end of a reply that came after the deadline. */
    lateReplyMs: doublePrecision('late_reply_ms'),
    timings: jsonb('timings').$type<ExchangeTimings>(),
    // Bytes and not jsonb: jsonb does not keep what was signed.
    envelope: bytes('envelope'),
    answer: bytes('answer'),
    answerScreen: text('answer_screen'),
    attempt: jsonb('attempt').$type<RecordedAttempt>(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    index('exchanges_of_flow_token')
      .on(t.workspaceId, t.flowTokenDigest, t.id.desc())
      .where(sql`${t.flowTokenDigest} is not null`),
    // For the expunge of a client.
    index('exchanges_of_client').on(t.workspaceId, t.clientId).where(sql`${t.clientId} is not null`),
    // For the sweep that closes what a dead process left open: a handful of rows at any time.
    index('exchanges_open').on(t.createdAt).where(sql`${t.outcome} is null`),
  ],
)

/** Milliseconds of each step; null where the step did not run. */
export interface ExchangeTimings {
  readonly verify: number | null
  readonly decrypt: number | null
  readonly enrich: number | null
  readonly webhook: number | null
  readonly encrypt: number | null
  readonly total: number
}

/** What is kept of the one request to the webhook. */
export interface RecordedAttempt {
  readonly status: number | null
  readonly failure: string | null
  readonly durationMs: number
  readonly connectMs: number | null
  readonly headMs: number | null
  readonly bytes: number
}
