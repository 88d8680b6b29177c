import type { Spool } from '../storage/spool.ts'
import { decodeRow, partsOf, type Row, weightOf } from './row.ts'
import { groupLimits, lengthOfGroup } from './row-queue.ts'

/**
 * The oldest rows of a spool in groups that a transaction takes each: earlier releases wrote more into one row than that. `lost`: of them, what is no
 * row or cannot be read. Throws SpoolError.
 */
export async function readGroups(spool: Pick<Spool, 'first'>): Promise<{ groups: Row[][]; lost: number }> {
  const { rows: found, unreadable } = await spool.first(groupLimits.rows, groupLimits.bytes)
  const rows = found.map(decodeRow).filter((row) => row !== null)
  const parts = rows.flatMap(partsOf).map((row) => ({ row, weight: weightOf(row) }))
  const groups: Row[][] = []
  while (parts.length > 0) groups.push(parts.splice(0, lengthOfGroup(parts)).map(({ row }) => row))
  return { groups, lost: found.length - rows.length + unreadable }
}
