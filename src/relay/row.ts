import { deserialize, serialize } from 'node:v8'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { ClosedExchange, OpenedExchange } from '../storage/exchange-record.ts'
import type { ExchangeGroup, LateReply } from '../storage/exchanges.ts'

/**
 * One row to write: what opens an exchange, what closes it, how late its reply came, or nothing but what is told of exchanges; and what is
 * told with it.
 */
export type Row = (
  | { readonly kind: 'opened'; readonly row: OpenedExchange }
  | { readonly kind: 'closed'; readonly row: ClosedExchange }
  | { readonly kind: 'late'; readonly row: LateReply }
  | { readonly kind: 'told'; readonly row: Pick<NewDelivery, 'workspaceId' | 'id'> }
) & { readonly deliveries: readonly NewDelivery[] }

const kinds: readonly unknown[] = ['opened', 'closed', 'late', 'told'] satisfies Row['kind'][]

/** Of the bytes on disk: 1 had no deliveries. Rows of another format were written by a later release and are not guessed at. */
const format = 2

/** About how many bytes a row takes, in memory and in a statement. */
export function weightOf({ kind, row, deliveries }: Row): number {
  const payload = kind === 'opened' ? row.envelope : kind === 'closed' ? row.answer : null
  const told = deliveries.reduce((bytes, { envelope }) => bytes + 1024 + (envelope?.length ?? 0), 0)
  return 1024 + (payload?.length ?? 0) + told
}

export function groupOf(rows: readonly Row[]): ExchangeGroup {
  return {
    opened: rows.flatMap((row) => (row.kind === 'opened' ? [row.row] : [])),
    closed: rows.flatMap((row) => (row.kind === 'closed' ? [row.row] : [])),
    late: rows.flatMap((row) => (row.kind === 'late' ? [row.row] : [])),
    deliveries: rows.flatMap((row) => row.deliveries),
  }
}

/** For the spool. V8's own serialization, because it keeps Dates and Buffers; later versions of V8 read it. */
export function encodeRow({ kind, row, deliveries }: Row): Uint8Array {
  return serialize({ format, kind, row, deliveries })
}

/** Null for bytes that are no row of this format. */
export function decodeRow(bytes: Uint8Array): Row | null {
  try {
    const read = deserialize(bytes)
    if (!(read?.format >= 1 && read.format <= format) || !kinds.includes(read.kind)) return null
    return { kind: read.kind, row: read.row, deliveries: read.deliveries ?? [] }
  } catch {
    return null
  }
}
