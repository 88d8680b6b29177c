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

/** Rows looked at in one statement, whatever their seal: none takes longer because most are done. */
const pageSize = 1000

/** The column as the primary key has it, and a row's id in that type: a digest is known by its hex, whose order is that of its bytes. */
function idOf(sql: postgres.Sql, id: SealedColumn['id'], rowId: string) {
  return id === 'call_digest'
    ? { asText: sql`encode(call_digest, 'hex')`, column: sql(id), value: sql`decode(${rowId}, 'hex')` }
    : { asText: sql(id), column: sql(id), value: sql`${rowId}` }
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
    const own = idOf(sql, id, rowId)
    // Byte 1 is the format, bytes 2 to 5 the key version (crypto/sealed-secret.ts).
    const rows = await storing(
      'read sealed values',
      () => sql`
        select workspace_id, ${own.asText} as row_id,
          case when substring(${sql(column)} from 2 for 4) <> ${keyVersion} then ${sql(column)} end as sealed
        from ${sql(table)} where (workspace_id, ${own.column}) > (${workspaceId}, ${own.value})
        order by workspace_id, ${own.column} limit ${pageSize}`,
    )
    const last = rows.at(-1)
    if (last === undefined) return
    after = { workspaceId: last.workspace_id, rowId: last.row_id }
    yield rows.flatMap((row): SealedValue[] =>
      row.sealed === null ? [] : [{ workspaceId: row.workspace_id, rowId: row.row_id, sealed: row.sealed }],
    )
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
    const own = idOf(sql, id, rowId)
    const changed = await sql`
      update ${sql(table)} set ${sql(column)} = ${resealed}
      where workspace_id = ${workspaceId} and ${own.column} = ${own.value} and ${sql(column)} = ${sealed}`
    return changed.count === 1
  })
}
