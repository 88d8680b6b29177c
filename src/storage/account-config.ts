import type postgres from 'postgres'
import type { SubscribableEvent } from '../domain/events.ts'
import type { Flow, FlowStatus } from '../domain/flow.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { BreakerMode, WebhookFallback, WebhookFormat } from '../domain/webhook.ts'
import { storing } from './database.ts'
import { openClient } from './driver.ts'
import { configChannel } from './workspaces.ts'

/** All that a relay must know of one workspace, as stored: what is sealed stays sealed. */
export interface WorkspaceConfig {
  readonly workspaceId: WorkspaceId
  readonly version: number
  readonly wabas: readonly StoredWaba[]
  readonly webhooks: readonly StoredWebhook[]
}

export interface StoredWaba {
  readonly wabaId: string
  readonly verified: boolean
  readonly requireTokenSignature: boolean
  readonly verifyTokenSealed: Buffer | null
  readonly appSecrets: readonly SealedRow[]
  /** Active ones, newest first: the newest is the one Meta most likely uses. */
  readonly flowKeys: readonly SealedRow[]
  readonly flows: readonly Flow[]
}

/** A sealed value and the id of the row it is bound to. */
export interface SealedRow {
  readonly id: string
  readonly sealed: Buffer
}

export interface StoredWebhook {
  readonly id: string
  readonly url: string
  readonly events: readonly SubscribableEvent[]
  readonly active: boolean
  readonly headersSealed: Buffer | null
  readonly flowIds: readonly string[] | null
  readonly timeoutMs: number | null
  readonly fallback: WebhookFallback | null
  readonly format: WebhookFormat
  readonly breakerMode: BreakerMode
  /** When it was last closed by hand: whoever sees it move closes its own. */
  readonly breakerClosedAt: Date | null
  readonly createdAt: Date
  /** The current one (no end) first, then those in their grace period, newest first. */
  readonly signingSecrets: readonly (SealedRow & { readonly expiresAt: Date | null })[]
}

/** Loading everything takes about 1 ms a workspace at the most. */
const loadMs = 60_000

/** Reads these workspaces, or all, in one snapshot. A workspace that is gone is not in the answer. Throws StorageError. */
export function loadConfigs(sql: postgres.Sql, only: readonly WorkspaceId[] | null): Promise<WorkspaceConfig[]> {
  const load = () =>
    sql.begin('isolation level repeatable read read only', async (tx) => {
      const of = (column: string) => (only === null ? tx`` : tx`where ${tx(column)} in ${tx(only)}`)
      const [workspaces, wabas, appSecrets, flowKeys, flows, webhooks, webhookSecrets] = await Promise.all([
        tx`select id, config_version::float8 as version from workspaces ${of('id')}`,
        tx`select workspace_id, waba_id, verified, require_token_signature, verify_token_sealed from wabas ${of('workspace_id')}`,
        tx`select workspace_id, waba_id, id, app_secret_sealed as sealed from app_secrets ${of('workspace_id')} order by id desc`,
        tx`select workspace_id, waba_id, id, private_key_sealed as sealed from flow_keys
             where status = 'active' ${only === null ? tx`` : tx`and workspace_id in ${tx(only)}`} order by id desc`,
        tx`select workspace_id, ${flowColumns(tx)} from flows ${of('workspace_id')} order by id`,
        tx`select workspace_id, id, url, events, active, headers_sealed, flow_ids, timeout_ms, fallback, format, breaker_mode,
             breaker_closed_at, created_at from webhooks ${of('workspace_id')} order by id`,
        tx`select workspace_id, webhook_id, id, signing_secret_sealed as sealed, expires_at from webhook_secrets
             ${of('workspace_id')} order by expires_at is null desc, id desc`,
      ])
      const ofWaba = (rows: readonly Row[]) => Map.groupBy(rows, (row) => `${row.workspace_id} ${row.waba_id}`)
      const secretsOfWaba = ofWaba(appSecrets)
      const keysOfWaba = ofWaba(flowKeys)
      const flowsOfWaba = ofWaba(flows)
      const secretsOfWebhook = Map.groupBy(webhookSecrets, (row) => `${row.workspace_id} ${row.webhook_id}`)
      const wabasOf = Map.groupBy(wabas, (row) => row.workspace_id as string)
      const webhooksOf = Map.groupBy(webhooks, (row) => row.workspace_id as string)
      return workspaces.map(({ id, version }) => ({
        workspaceId: id as WorkspaceId,
        version: version as number,
        wabas: (wabasOf.get(id) ?? []).map(({ waba_id: wabaId, ...waba }) => ({
          wabaId,
          verified: waba.verified,
          requireTokenSignature: waba.require_token_signature,
          verifyTokenSealed: waba.verify_token_sealed,
          appSecrets: (secretsOfWaba.get(`${id} ${wabaId}`) ?? []).map(sealedRow),
          flowKeys: (keysOfWaba.get(`${id} ${wabaId}`) ?? []).map(sealedRow),
          flows: (flowsOfWaba.get(`${id} ${wabaId}`) ?? []).map(flowOf),
        })),
        webhooks: (webhooksOf.get(id) ?? []).map((row) =>
          webhookOf(row, secretsOfWebhook.get(`${id} ${row.id}`) ?? []),
        ),
      }))
    })
  return only === null ? storing('load configuration', load, loadMs) : storing('load configuration', load)
}

/** The version of every workspace's configuration. Throws StorageError. */
export function loadConfigVersions(sql: postgres.Sql): Promise<Map<WorkspaceId, number>> {
  return storing('load configuration versions', async () => {
    const rows = await sql`select id, config_version::float8 as version from workspaces`
    return new Map(rows.map((row) => [row.id as WorkspaceId, row.version as number]))
  })
}

export interface Listening {
  /** True once its connection ended: nothing is heard any more, and the caller listens anew. */
  readonly ended: boolean
  close(): Promise<void>
}

/**
 * Calls `changed` for every hint that a workspace's configuration moved. One connection and no second: the driver's own `listen` gives up for
 * good, and tells nobody, when a reconnection fails once.
 */
export async function listenForConfig(url: string, changed: (workspaceId: WorkspaceId) => void): Promise<Listening> {
  let ended = false
  const client = openClient(url, {
    max: 1,
    connect_timeout: 5,
    max_lifetime: null,
    connection: { application_name: 'relevo' },
    onnotify: (_channel, workspaceId) => changed(workspaceId as WorkspaceId),
    onclose: () => {
      ended = true
    },
  })
  const close = () => client.end({ timeout: 1 })
  try {
    await storing('listen', () => client.unsafe(`listen ${configChannel}`))
  } catch (error) {
    await close()
    throw error
  }
  return {
    get ended() {
      return ended
    },
    close,
  }
}

type Row = Record<string, unknown>

function sealedRow(row: Row): SealedRow {
  return { id: row.id as string, sealed: row.sealed as Buffer }
}

/** What {@link flowOf} reads. */
export function flowColumns(sql: postgres.ISql) {
  return sql`id, waba_id, meta_flow_id, name, status, categories, data_api_version, endpoint_uri, json_version, screens,
    first_screen, refuse_closed_tokens, created_at, updated_at, last_sync_at`
}

export function flowOf(row: Row): Flow {
  return {
    id: row.id as string,
    wabaId: row.waba_id as string,
    metaFlowId: row.meta_flow_id as string,
    name: row.name as string | null,
    status: row.status as FlowStatus | null,
    categories: row.categories as string[] | null,
    dataApiVersion: row.data_api_version as string | null,
    endpointUri: row.endpoint_uri as string | null,
    jsonVersion: row.json_version as string | null,
    screens: row.screens as string[] | null,
    firstScreen: row.first_screen as string | null,
    refuseClosedTokens: row.refuse_closed_tokens as { message: string } | null,
    createdAt: row.created_at as Date,
    updatedAt: row.updated_at as Date,
    lastSyncAt: row.last_sync_at as Date | null,
  }
}

function webhookOf(row: Row, secrets: readonly Row[]): StoredWebhook {
  return {
    id: row.id as string,
    url: row.url as string,
    events: row.events as SubscribableEvent[],
    active: row.active as boolean,
    headersSealed: row.headers_sealed as Buffer | null,
    flowIds: row.flow_ids as string[] | null,
    timeoutMs: row.timeout_ms as number | null,
    fallback: row.fallback as WebhookFallback | null,
    format: row.format as WebhookFormat,
    breakerMode: row.breaker_mode as BreakerMode,
    breakerClosedAt: row.breaker_closed_at as Date | null,
    createdAt: row.created_at as Date,
    signingSecrets: secrets.map((secret) => ({ ...sealedRow(secret), expiresAt: secret.expires_at as Date | null })),
  }
}
