import { boolean, foreignKey, index, json, pgTable, primaryKey, text, unique } from 'drizzle-orm/pg-core'
import { bytes, createdAt, time, updatedAt, workspaceId } from './columns.ts'
import { owner } from './workspaces.ts'

export const wabas = pgTable(
  'wabas',
  {
    workspaceId: owner(),
    wabaId: text('waba_id').notNull(),
    name: text('name'),
    verified: boolean('verified').notNull(),
    accessTokenSealed: bytes('access_token_sealed'),
    verifyTokenSealed: bytes('verify_token_sealed'),
    requireTokenSignature: boolean('require_token_signature').notNull().default(false),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [primaryKey({ columns: [t.workspaceId, t.wabaId] })],
)

export const appSecrets = pgTable(
  'app_secrets',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    wabaId: text('waba_id').notNull(),
    appSecretSealed: bytes('app_secret_sealed').notNull(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    foreignKey({ columns: [t.workspaceId, t.wabaId], foreignColumns: [wabas.workspaceId, wabas.wabaId] }).onDelete(
      'cascade',
    ),
    index('app_secrets_of_waba').on(t.workspaceId, t.wabaId),
  ],
)

export const flowKeys = pgTable(
  'flow_keys',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    wabaId: text('waba_id').notNull(),
    // Null once the key is retired: the private half is destroyed.
    privateKeySealed: bytes('private_key_sealed'),
    publicKey: text('public_key').notNull(),
    fingerprint: text('fingerprint').notNull(),
    status: text('status').$type<'active' | 'retired'>().notNull(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    foreignKey({ columns: [t.workspaceId, t.wabaId], foreignColumns: [wabas.workspaceId, wabas.wabaId] }).onDelete(
      'cascade',
    ),
    index('flow_keys_of_waba').on(t.workspaceId, t.wabaId),
  ],
)

export const channels = pgTable(
  'channels',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    wabaId: text('waba_id').notNull(),
    phoneNumberId: text('phone_number_id').notNull(),
    phoneNumber: text('phone_number').notNull(),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    foreignKey({ columns: [t.workspaceId, t.wabaId], foreignColumns: [wabas.workspaceId, wabas.wabaId] }).onDelete(
      'cascade',
    ),
    unique('channels_phone_number_id').on(t.workspaceId, t.phoneNumberId),
  ],
)

export const flows = pgTable(
  'flows',
  {
    workspaceId: workspaceId(),
    id: text('id').notNull(),
    wabaId: text('waba_id').notNull(),
    metaFlowId: text('meta_flow_id').notNull(),
    name: text('name'),
    status: text('status'),
    // When Meta changed it to that, as far as Meta told: its notices come out of order.
    statusAt: time('status_at'),
    categories: text('categories').array(),
    dataApiVersion: text('data_api_version'),
    endpointUri: text('endpoint_uri'),
    jsonVersion: text('json_version'),
    // json, not jsonb: member order and \u0000 survive. Up to 10 MB (protocol.md 2.8): read by the API alone. What an exchange needs of it stands in the next two.
    flowJson: json('flow_json'),
    screens: text('screens').array(),
    firstScreen: text('first_screen'),
    // As Graph gave them at the last sync (protocol.md 4.2).
    healthStatus: json('health_status'),
    validationErrors: json('validation_errors'),
    refuseClosedTokens: json('refuse_closed_tokens').$type<{ readonly message: string }>(),
    lastSyncAt: time('last_sync_at'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    foreignKey({ columns: [t.workspaceId, t.wabaId], foreignColumns: [wabas.workspaceId, wabas.wabaId] }).onDelete(
      'cascade',
    ),
    unique('flows_meta_flow_id').on(t.workspaceId, t.wabaId, t.metaFlowId),
  ],
)
