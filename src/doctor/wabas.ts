import { importPrivateKey, publicKeyPem } from '../crypto/flow-key.ts'
import { type MasterKeys, openSecret, type SecretPlace } from '../crypto/sealed-secret.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { loadConfigs, type SealedRow, type StoredWaba } from '../storage/account-config.ts'
import { channelsOfWaba } from '../storage/channels.ts'
import type { Database } from '../storage/database.ts'
import { findAccessToken } from '../storage/wabas.ts'
import type { Endpoint } from './endpoint.ts'
import { type Finding, findingsOf } from './finding.ts'

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

/** Reads and opens every WABA. Throws StorageError. */
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
  const patient = (workspaceId: WorkspaceId, { wabaId, flowKeys, appSecrets }: StoredWaba): Patient => {
    const publicKeys = open(flowKeys, 'flow_key', workspaceId).map((der) => publicKeyPem(importPrivateKey(der)))
    const [ownSecret] = open(appSecrets, 'app_secret', workspaceId)
    const appSecret = ownSecret?.toString() ?? platformAppSecrets[0] ?? null
    return { workspaceId, wabaId, publicKeys, publicKey: publicKeys[0] ?? null, appSecret }
  }
  const configs = await loadConfigs(database.sql, null)
  const patients = configs.flatMap(({ workspaceId, wabas }) => wabas.map((waba) => patient(workspaceId, waba)))
  const finding =
    unopened === 0
      ? masterKey.ok('opens every flow key and app secret')
      : masterKey.fail(
          `${unopened} stored secrets do not open`,
          'the key that they were sealed under is missing in MASTER_KEY and MASTER_KEYS_PREVIOUS',
        )
  return { patients, finding }
}

/** What a WABA has for Graph. `accessToken` is null where there is none, or none that opens. Throws StorageError. */
export async function graphPartOf(database: Database, masterKeys: MasterKeys, { workspaceId, wabaId }: Patient) {
  const sealed = await findAccessToken(database, workspaceId, wabaId)
  const place = { purpose: 'access_token', workspaceId, rowId: wabaId } as const
  const accessToken = sealed ? (openSecret(sealed, place, masterKeys)?.toString() ?? null) : null
  const channels = await channelsOfWaba(database, workspaceId, wabaId)
  return { accessToken, phoneNumberIds: channels.map(({ phoneNumberId }) => phoneNumberId) }
}
