import type postgres from 'postgres'
import type { WorkspaceId } from '../domain/ids.ts'
import { storing } from './database.ts'

/** Every column that holds sealed bytes, and what it is bound to besides its workspace: `id` is the row's part of the place. */
export const sealedColumns = [
  { table: 'app_secrets', id: 'id', column: 'app_secret_sealed', purpose: 'app_secret' },
  { table: 'flow_keys', id: 'id', column: 'private_key_sealed', purpose: 'flow_key' },
  { table: 'wabas', id: 'waba_id', column: 'access_token_sealed', purpose: 'access_token' },
  { table: 'wabas', id: 'waba_id', column: 'verify_token_sealed', purpose: 'verify_token' },
  { table: 'webhook_secrets', id: 'id', column: 'signing_secret_sealed', purpose: 'webhook_secret' },
  { table: 'webhooks', id: 'id', column: 'headers_sealed', purpose: 'webhook_headers' },
  { table: 'idempotent_calls', id: 'call_digest', column: 'answer_sealed', purpose: 'idempotent_answer' },
] as const
export type SealedColumn = (typeof sealedColumns)[number]

export interface SealedValue {
  readonly workspaceId: WorkspaceId
  readonly rowId: string
  readonly sealed: Buffer
}

const pageSize = 500

/** A digest is known by its hex; all other ids are text as they stand. */
function rowIdOf(sql: postgres.Sql, id: SealedColumn['id']) {
  return id === 'call_digest' ? sql`encode(call_digest, 'hex')` : sql`${sql(id)}`
}

/** Pages of the values of a column that are sealed under another key version than this. Throws StorageError. */
export async function* sealedUnderOthers(
  sql: postgres.Sql,
  { table, id, column }: SealedColumn,
  keyVersion: Buffer,
): AsyncGenerator<SealedValue[]> {
  let after = { workspaceId: '', rowId: '' }
  for (;;) {
    const { workspaceId, rowId } = after
    const page = await storing('read sealed values', async () => {
      // Byte 1 is the format, bytes 2 to 5 the key version (crypto/sealed-secret.ts).
      const rows = await sql`
        select workspace_id, ${rowIdOf(sql, id)} as row_id, ${sql(column)} as sealed from ${sql(table)}
        where ${sql(column)} is not null and substring(${sql(column)} from 2 for 4) <> ${keyVersion}
          and (workspace_id, ${rowIdOf(sql, id)}) > (${workspaceId}, ${rowId})
        order by workspace_id, ${rowIdOf(sql, id)} limit ${pageSize}`
      return rows.map((row): SealedValue => ({ workspaceId: row.workspace_id, rowId: row.row_id, sealed: row.sealed }))
    })
    const last = page.at(-1)
    if (last === undefined) return
    after = last
    yield page
  }
}

/** Puts a value's new seal in its place, unless it was changed meanwhile. Throws StorageError. */
export function replaceSealed(
  sql: postgres.Sql,
  { table, id, column }: SealedColumn,
  { workspaceId, rowId, sealed }: SealedValue,
  resealed: Buffer,
): Promise<boolean> {
  return storing('replace sealed value', async () => {
    const changed = await sql`
      update ${sql(table)} set ${sql(column)} = ${resealed}
      where workspace_id = ${workspaceId} and ${rowIdOf(sql, id)} = ${rowId} and ${sql(column)} = ${sealed}`
    return changed.count === 1
  })
}
