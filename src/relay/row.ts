import { deserialize, serialize } from 'node:v8'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { ClosedExchange, OpenedExchange } from '../storage/exchange-record.ts'
import type { ExchangeGroup, LateReply } from '../storage/exchanges.ts'
import { deliveryBytes, frameBytes, inParts } from './delivery-parts.ts'

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

/**
 * About how many bytes a row takes: in memory, where envelopes that are `counted` take no more, and written, where each delivery has its envelope for
 * itself.
 */
export function weightOf(
  { kind, row, deliveries }: Row,
  counted?: Set<unknown>,
): { readonly kept: number; readonly written: number } {
  const bytes = frameBytes + (kind === 'opened' ? openedBytes(row) : kind === 'closed' ? closedBytes(row) : 0)
  if (deliveries.length === 0) return { kept: bytes, written: bytes }
  const seen = counted ?? new Set()
  let [kept, written] = [bytes, bytes]
  for (const told of deliveries) {
    kept += frameBytes + (seen.has(told.envelope) ? 0 : lengthOf(told.envelope))
    written += deliveryBytes(told)
    seen.add(told.envelope)
  }
  return { kept, written }
}

// A phone may send a token or a screen as long as the body.
const openedBytes = ({ envelope, flowToken, screen }: OpenedExchange) =>
  lengthOf(envelope) + lengthOf(flowToken) + lengthOf(screen)
const closedBytes = ({ answer, answerScreen }: ClosedExchange) => lengthOf(answer) + lengthOf(answerScreen)
const lengthOf = (value: Buffer | string | null | undefined): number => value?.length ?? 0

/** The row with as many of its deliveries as one transaction takes, then rows that tell the rest. */
export function partsOf(row: Row): Row[] {
  if (row.deliveries.length < 2) return [row]
  const parts = inParts(row.deliveries)
  if (parts.length < 2) return [row]
  const [first = [], ...more] = parts
  const { workspaceId, id } = row.row
  return [
    { ...row, deliveries: first },
    ...more.map((deliveries): Row => ({ kind: 'told', row: { workspaceId, id }, deliveries })),
  ]
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
