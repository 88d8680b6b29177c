import { sql } from 'drizzle-orm'
import { index, integer, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { bytes, createdAt, time, workspaceId } from './columns.ts'

/** What a call outside of any workspace has for its workspace. No workspace has this id. */
export const operatorWorkspace = 'operator'

/** Every change through the API. No foreign keys: it outlives what it tells of. */
export const auditLog = pgTable(
  'audit_log',
  {
    workspaceId: workspaceId(),
    id: uuid('id').notNull(),
    /** `operator`, or the id of the API key. */
    actor: text('actor').notNull(),
    /** Method and path pattern. */
    action: text('action').notNull(),
    resourceId: text('resource_id'),
    /** Names of the members that were given, never their values. */
    members: text('members').array().notNull(),
    /** Null while the call runs, and for ever if its process died. */
    status: integer('status'),
    createdAt: time('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.id] })],
)

/** POSTs that were made with an Idempotency-Key (contract.md §6). */
export const idempotentCalls = pgTable(
  'idempotent_calls',
  {
    workspaceId: workspaceId(),
    /** SHA-256 of caller, route and Idempotency-Key. */
    callDigest: bytes('call_digest').notNull(),
    bodyDigest: bytes('body_digest').notNull(),
    /** Null while the first call runs. */
    status: integer('status'),
    answerSealed: bytes('answer_sealed'),
    /** Whom the answer tells of: an expunge takes it too. */
    clientId: text('client_id'),
    flowTokenDigest: bytes('flow_token_digest'),
    /** Moved on while the first call runs: one that stands still is dead. */
    startedAt: time('started_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.callDigest] }),
    index('idempotent_calls_expiry').on(t.expiresAt),
    index('idempotent_calls_of_client').on(t.workspaceId, t.clientId).where(sql`${t.clientId} is not null`),
    index('idempotent_calls_of_flow_token')
      .on(t.workspaceId, t.flowTokenDigest)
      .where(sql`${t.flowTokenDigest} is not null`),
  ],
)
