import { deserialize, serialize } from 'node:v8'
import type { ClosedExchange, ExchangeGroup, OpenedExchange } from '../storage/exchanges.ts'

/** One row to write: what opens an exchange, or what closes it. */
export type Row =
  | { readonly kind: 'opened'; readonly row: OpenedExchange }
  | { readonly kind: 'closed'; readonly row: ClosedExchange }

/** Of the bytes on disk. Rows of another format were written by another release and are not guessed at. */
const format = 1

/** About how many bytes a row takes, in memory and in a statement. */
export function weightOf({ kind, row }: Row): number {
  const payload = kind === 'opened' ? row.envelope : row.answer
  return 1024 + (payload?.length ?? 0)
}

export function groupOf(rows: readonly Row[]): ExchangeGroup {
  return {
    opened: rows.flatMap((row) => (row.kind === 'opened' ? [row.row] : [])),
    closed: rows.flatMap((row) => (row.kind === 'closed' ? [row.row] : [])),
  }
}

/** For the spool. V8's own serialization, because it keeps Dates and Buffers; later versions of V8 read it. */
export function encodeRow({ kind, row }: Row): Uint8Array {
  return serialize({ format, kind, row })
}

/** Null for bytes that are no row of this format. */
export function decodeRow(bytes: Uint8Array): Row | null {
  try {
    const read = deserialize(bytes)
    if (read?.format !== format || (read.kind !== 'opened' && read.kind !== 'closed')) return null
    return { kind: read.kind, row: read.row }
  } catch {
    return null
  }
}
