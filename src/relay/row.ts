import { deserialize, serialize } from 'node:v8'
import type { ClosedExchange, ExchangeGroup, LateReply, OpenedExchange } from '../storage/exchanges.ts'

/** One row to write: what opens an exchange, what closes it, or how late its reply came. */
export type Row =
  | { readonly kind: 'opened'; readonly row: OpenedExchange }
  | { readonly kind: 'closed'; readonly row: ClosedExchange }
  | { readonly kind: 'late'; readonly row: LateReply }

const kinds: readonly unknown[] = ['opened', 'closed', 'late'] satisfies Row['kind'][]

/** Of the bytes on disk. Rows of another format were written by another release and are not guessed at. */
const format = 1

/** About how many bytes a row takes, in memory and in a statement. */
export function weightOf({ kind, row }: Row): number {
  if (kind === 'late') return 256
  const payload = kind === 'opened' ? row.envelope : row.answer
  return 1024 + (payload?.length ?? 0)
}

export function groupOf(rows: readonly Row[]): ExchangeGroup {
  return {
    opened: rows.flatMap((row) => (row.kind === 'opened' ? [row.row] : [])),
    closed: rows.flatMap((row) => (row.kind === 'closed' ? [row.row] : [])),
    late: rows.flatMap((row) => (row.kind === 'late' ? [row.row] : [])),
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
    if (read?.format !== format || !kinds.includes(read.kind)) return null
    return { kind: read.kind, row: read.row }
  } catch {
    return null
  }
}
