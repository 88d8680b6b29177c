import type postgres from 'postgres'
import type { WorkspaceId } from '../domain/ids.ts'
import { byteas } from './arrays.ts'

/**
 * Takes note of what Meta tells, in the transaction that writes it; those that were not known before, by the digest as hex. A twin in another
 * transaction is waited for.
 */
export async function insertMetaEvents(
  tx: postgres.TransactionSql,
  workspaceId: WorkspaceId,
  digests: readonly Buffer[],
  now: Date,
): Promise<ReadonlySet<string>> {
  const rows = await tx`
    insert into meta_events (workspace_id, digest, created_at)
    select ${workspaceId}, digest, ${now}::timestamptz from unnest(${byteas(digests, (d) => d)}::text[]::bytea[]) as t(digest)
    order by digest
    on conflict do nothing
    returning digest`
  return new Set(rows.map(({ digest }) => (digest as Buffer).toString('hex')))
}
