import { index, pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { bytes, time, workspaceId } from './columns.ts'

/** Which process does what only one may do: a lease, because a session's lock does not pass a pooler. An operator table. */
export const leases = pgTable('leases', {
  name: text('name').primaryKey(),
  /** A name that the process made for itself. */
  holder: text('holder').notNull(),
  expiresAt: time('expires_at').notNull(),
})

/** What Meta told us already (contract.md §5): it repeats itself for 7 days (protocol.md 5.2). */
export const metaEvents = pgTable(
  'meta_events',
  {
    workspaceId: workspaceId(),
    /** SHA-256 of the WABA, the kind and a message's id, or of the change itself. */
    digest: bytes('digest').notNull(),
    createdAt: time('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.digest] }), index('meta_events_age').on(t.createdAt)],
)

/**
 * Who was expunged, so that rows which were on their way then are emptied too: a client, or a flow token of one. And workspaces that were
 * deleted, whose late rows go.
 */
export const expunges = pgTable(
  'expunges',
  {
    workspaceId: workspaceId(),
    /** SHA-256: of a client's id, of a flow token, or of the workspace's id. */
    digest: bytes('digest').notNull(),
    kind: text('kind').$type<'client' | 'flow_token' | 'workspace'>().notNull(),
    expungedAt: time('expunged_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.kind, t.digest] }), index('expunges_age').on(t.expungedAt)],
)
