import { type MasterKeys, openSecret, sealSecret } from './crypto/sealed-secret.ts'
import type { Database } from './storage/database.ts'
import { replaceSealed, sealedColumns, sealedUnderOthers } from './storage/sealed-rows.ts'

export interface Resealed {
  readonly resealed: number
  /** Values that no known master key opens: a key is missing in MASTER_KEYS_PREVIOUS. */
  readonly unopened: number
}

/**
 * Moves every stored secret to the current master key (contract.md §7), while others serve: the new key is already in their
 * MASTER_KEYS_PREVIOUS or is their MASTER_KEY, so that they open both seals. Can be run again at any time. Throws StorageError.
 */
export async function reseal(database: Database, masterKeys: MasterKeys): Promise<Resealed> {
  const keyVersion = Buffer.alloc(4)
  keyVersion.writeUInt32BE(masterKeys.current.version)
  let resealed = 0
  let unopened = 0
  for (const column of sealedColumns) {
    for await (const page of sealedUnderOthers(database.sql, column, keyVersion)) {
      for (const value of page) {
        const place = { purpose: column.purpose, workspaceId: value.workspaceId, rowId: value.rowId }
        const plain = openSecret(value.sealed, place, masterKeys)
        if (plain === null) unopened++
        else if (await replaceSealed(database.sql, column, value, sealSecret(plain, place, masterKeys))) resealed++
      }
    }
  }
  return { resealed, unopened }
}
