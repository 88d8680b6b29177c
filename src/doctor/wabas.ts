import { importPrivateKey, publicKeyPem } from '../crypto/flow-key.ts'
import { type MasterKeys, openSecret, type SecretPlace } from '../crypto/sealed-secret.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { loadConfigs, type SealedRow, type StoredWaba } from '../storage/account-config.ts'
import { channelsOfWaba } from '../storage/channels.ts'
import type { Database } from '../storage/database.ts'
import { findAccessToken } from '../storage/wabas.ts'
import type { Endpoint } from './endpoint.ts'
import { type Finding, findingsOf, masterKeyMissing } from './finding.ts'

/** A WABA with what the doctor needs of it, opened. */
export interface Patient extends Endpoint {
  readonly workspaceId: WorkspaceId
  /** Of all active keys, the newest first, SPKI PEM. */
  readonly publicKeys: readonly string[]
}

export interface Opened {
  readonly patients: readonly Patient[]
  readonly finding: Finding
}

const masterKey = findingsOf('master-key')

/** Reads and opens every WABA, and what webhooks are called with. Throws StorageError. */
export async function openWabas(
  database: Database,
  masterKeys: MasterKeys,
  platformAppSecrets: readonly string[],
): Promise<Opened> {
  let unopened = 0
  const open = (rows: readonly SealedRow[], purpose: SecretPlace['purpose'], workspaceId: WorkspaceId): Buffer[] =>
    rows.flatMap((row) => {
      const plain = openSecret(row.sealed, { purpose, workspaceId, rowId: row.id }, masterKeys)
      if (plain === null) unopened++
      return plain === null ? [] : [plain]
    })
  const patient = (workspaceId: WorkspaceId, stored: StoredWaba): Patient => {
    const { wabaId, flowKeys, appSecrets, verifyTokenSealed } = stored
    open(sealedRows(wabaId, verifyTokenSealed), 'verify_token', workspaceId)
    const publicKeys = open(flowKeys, 'flow_key', workspaceId).map((der) => publicKeyPem(importPrivateKey(der)))
    const [ownSecret] = open(appSecrets, 'app_secret', workspaceId)
    const appSecret = ownSecret?.toString() ?? platformAppSecrets[0] ?? null
    return { workspaceId, wabaId, publicKeys, publicKey: publicKeys[0] ?? null, appSecret }
  }
  const configs = await loadConfigs(database.sql, null)
  for (const { workspaceId, webhooks } of configs) {
    for (const { id, headersSealed, signingSecrets } of webhooks) {
      const inUse = signingSecrets.filter(({ expiresAt }) => expiresAt === null || expiresAt.getTime() > Date.now())
      open(inUse, 'webhook_secret', workspaceId)
      open(sealedRows(id, headersSealed), 'webhook_headers', workspaceId)
    }
  }
  const patients = configs.flatMap(({ workspaceId, wabas }) => wabas.map((waba) => patient(workspaceId, waba)))
  const finding =
    unopened === 0
      ? masterKey.ok('opens every secret of WABAs and webhooks')
      : masterKey.fail(`${unopened} stored secrets do not open`, masterKeyMissing)
  return { patients, finding }
}

const sealedRows = (id: string, sealed: Buffer | null): SealedRow[] => (sealed === null ? [] : [{ id, sealed }])

/** What a WABA has for Graph. `accessToken`: null where there is none, or none that opens. Throws StorageError. */
export async function graphPartOf(database: Database, masterKeys: MasterKeys, { workspaceId, wabaId }: Patient) {
  const sealed = await findAccessToken(database, workspaceId, wabaId)
  const place = { purpose: 'access_token', workspaceId, rowId: wabaId } as const
  const accessToken = sealed ? (openSecret(sealed, place, masterKeys)?.toString() ?? null) : null
  const channels = await channelsOfWaba(database, workspaceId, wabaId)
  return {
    accessToken,
    isTokenShut: Boolean(sealed) && accessToken === null,
    phoneNumberIds: channels.map(({ phoneNumberId }) => phoneNumberId),
  }
}
