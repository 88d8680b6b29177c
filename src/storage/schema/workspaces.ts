import { bigint, pgTable, primaryKey, text, unique } from 'drizzle-orm/pg-core'
import type { WorkspaceId } from '../../domain/ids.ts'
import { bytes, createdAt, time, updatedAt, workspaceId } from './columns.ts'

/** The workspace of a row that goes with it. */
export const owner = () => workspaceId().references(() => workspaces.id, { onDelete: 'cascade' })

export const workspaces = pgTable('workspaces', {
  id: text('id').$type<WorkspaceId>().primaryKey(),
  name: text('name').notNull(),
  // Bumped in the transaction of each change that a relay must know of. A sequence or updated_at would miss late commits.
  configVersion: bigint('config_version', { mode: 'number' }).notNull().default(1),
  createdAt: createdAt(),
  updatedAt: updatedAt(),
})

/** Who owns a WABA id: Meta's calls name nothing else, and an id can be claimed once. */
export const wabaDirectory = pgTable('waba_directory', {
  wabaId: text('waba_id').primaryKey(),
  workspaceId: owner(),
})

export const apiKeys = pgTable(
  'api_keys',
  {
    workspaceId: owner(),
    id: text('id').notNull(),
    name: text('name').notNull(),
    keyDigest: bytes('key_digest').notNull(),
    keyPrefix: text('key_prefix').notNull(),
    scopes: text('scopes').array().$type<('read' | 'write')[]>().notNull(),
    lastUsedAt: time('last_used_at'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.id] }), unique('api_keys_digest').on(t.workspaceId, t.keyDigest)],
)
