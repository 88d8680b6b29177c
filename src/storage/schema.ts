import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  foreignKey,
  index,
  integer,
  json,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uuid,
} from 'drizzle-orm/pg-core'
import type { FlowResponseStatus } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import type { WebhookFallback, WebhookFormat } from '../domain/webhook.ts'

const bytes = customType<{ data: Buffer; driverData: Buffer }>({ dataType: () => 'bytea' })

const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
const createdAt = () => time('created_at').notNull().defaultNow()
const updatedAt = () => time('updated_at').notNull().defaultNow()

// Every other table's key begins with this, so that one workspace's rows lie together, on one shard (contract.md §7).
const workspaceId = () => text('workspace_id').$type<WorkspaceId>().notNull()
const owner = () => workspaceId().references(() => workspaces.id, { onDelete: 'cascade' })

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

export const wabas = pgTable(
  'wabas',
  {
    workspaceId: owner(),
    wabaId: text('waba_id').notNull(),
    name: text('name'),
    verified: boolean('verified').notNull(),
    accessTokenSealed: bytes('access_token_sealed'),
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
    privateKeySealed: bytes('private_key_sealed').notNull(),
    publicKey: text('public_key').notNull(),
    fingerprint: text('fingerprint').notNull(),
    status: text('status').$type<'active' | 'retired'>().notNull(),
    createdAt: createdAt(),
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
    categories: text('categories').array(),
    dataApiVersion: text('data_api_version'),
    endpointUri: text('endpoint_uri'),
    jsonVersion: text('json_version'),
    // json, not jsonb: member order and \u0000 survive. Up to 10 MB (protocol.md 2.8): read by the API alone. What an exchange needs of it stands in the next two.
    flowJson: json('flow_json'),
    screens: text('screens').array(),
    firstScreen: text('first_screen'),
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

export const clients = pgTable(
  'clients',
  {
    workspaceId: owner(),
    id: text('id').notNull(),
    phoneNumber: text('phone_number').notNull(),
    name: text('name'),
    firstname: text('firstname'),
    email: text('email'),
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
    sentAt: time('sent_at'),
    openedAt: time('opened_at'),
    lastActivityAt: time('last_activity_at'),
    completedAt: time('completed_at'),
    expiresAt: time('expires_at').notNull(),
    clientId: text('client_id'),
    conversationId: text('conversation_id'),
    messageId: text('message_id'),
    campaignId: text('campaign_id'),
    agentId: text('agent_id'),
    channelId: text('channel_id'),
    createdAt: createdAt(),
    updatedAt: updatedAt(),
  },
  (t) => [
    primaryKey({ columns: [t.workspaceId, t.id] }),
    unique('flow_responses_flow_token').on(t.workspaceId, t.flowTokenDigest),
  ],
)

/** One row per call that decrypted. `outcome` is null until the row is closed. */
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
    durationMs: doublePrecision('duration_ms'),
    webhookMs: doublePrecision('webhook_ms'),
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
