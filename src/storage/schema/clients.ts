import { boolean, foreignKey, index, integer, json, pgTable, primaryKey, text, unique } from 'drizzle-orm/pg-core'
import { createdAt, updatedAt, workspaceId } from './columns.ts'
import { owner } from './workspaces.ts'

export const clients = pgTable(
  'clients',
  {
    workspaceId: owner(),
    id: text('id').notNull(),
    phoneNumber: text('phone_number').notNull(),
    name: text('name'),
    firstname: text('firstname'),
    email: text('email'),
    attributes: json('attributes').$type<Readonly<Record<string, unknown>>>().notNull().default({}),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    unique('clients_phone_number').on(t.workspaceId, t.phoneNumber),
  ],
)

export const conversations = pgTable(
  'conversations',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    clientId: text('client_id').notNull(),
    channelId: text('channel_id'),
    canSendDirectMessage: boolean('can_send_direct_message').notNull(),
    contactName: text('contact_name'),
    topic: text('topic').notNull(),
    platform: text('platform').notNull(),
    owners: text('owners').array().notNull(),
    tags: text('tags').array().notNull(),
    status: text('status').notNull(),
    operation: text('operation').notNull(),
    messageCount: integer('message_count').notNull(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    foreignKey({ columns: [t.workspaceId, t.clientId], foreignColumns: [clients.workspaceId, clients.id] }).onDelete(
      'cascade',
    ),
    index('conversations_of_client').on(t.workspaceId, t.clientId),
  ],
)
