import { and, type Column, gte, lt, type SQL } from 'drizzle-orm'
import { firstIdAt } from '../domain/day.ts'

export interface TimeSpan {
  /** Inclusive. */
  readonly since?: Date | undefined
  /** Exclusive. */
  readonly until?: Date | undefined
}

// A row's id begins with the time it was made, so the primary key narrows a span of time. It may run ahead of the row's own time
// when a clock was set back: a minute either side costs nothing, `createdAt` decides.
export const idSlackMs = 60_000

/** The rows of a table with UUIDv7 ids that were made in a span of time; undefined for all. */
export function madeWithin(
  table: { readonly id: Column; readonly createdAt: Column },
  span: TimeSpan,
): SQL | undefined {
  const { since, until } = span
  return and(since && gte(table.createdAt, since), until && lt(table.createdAt, until), idsWithin(table, span))
}

/** As {@link madeWithin}, with a minute more on either side: by the key alone. */
export function idsWithin({ id }: { readonly id: Column }, { since, until }: TimeSpan): SQL | undefined {
  return and(
    since && gte(id, firstIdAt(since.getTime() - idSlackMs)),
    until && lt(id, firstIdAt(until.getTime() + idSlackMs)),
  )
}
