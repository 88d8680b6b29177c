import { and, type Column, gte, lt, type SQL } from 'drizzle-orm'

export interface TimeSpan {
  /** Inclusive. */
  readonly since?: Date | undefined
  /** Exclusive. */
  readonly until?: Date | undefined
}

// A row's id begins with the time it was made, so the primary key narrows a span of time. It may run ahead of the row's own time
// when a clock was set back: a minute either side costs nothing, `createdAt` decides.
const idSlackMs = 60_000

/** The rows of a table with UUIDv7 ids that were made in a span of time; undefined for all. */
export function madeWithin(
  table: { readonly id: Column; readonly createdAt: Column },
  span: TimeSpan,
): SQL | undefined {
  const { since, until } = span
  return and(
    since && and(gte(table.createdAt, since), gte(table.id, firstIdAt(since.getTime() - idSlackMs))),
    until && and(lt(table.createdAt, until), lt(table.id, firstIdAt(until.getTime() + idSlackMs))),
  )
}

/** The least UUIDv7 of a time. */
export function firstIdAt(unixMs: number): string {
  const hex = Math.max(0, unixMs).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`
}

/** When a UUIDv7 was made, unix ms. */
export function idMadeAt(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}
