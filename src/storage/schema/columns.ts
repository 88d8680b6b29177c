import { customType, text, timestamp } from 'drizzle-orm/pg-core'
import type { WorkspaceId } from '../../domain/ids.ts'

/** Column types that all tables share. */

export const bytes = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => 'bytea' })

export const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
export const createdAt = () => time('created_at').notNull().defaultNow()
export const updatedAt = () => time('updated_at').notNull().defaultNow()

// Every other table's key begins with this, so that one workspace's rows lie together, on one shard (contract.md §7).
export const workspaceId = () => text('workspace_id').$type<WorkspaceId>().notNull()
