import { storable } from './database.ts'

/**
 * Columns of a group of rows as arrays of text, for one `unnest` in a statement that is prepared once, whatever the group's size. All
 * are text, cast in SQL: the driver then needs no type of an array.
 */
export const texts = <R>(rows: readonly R[], of: (row: R) => string | null) =>
  rows.map((row) => {
    const value = of(row)
    return value === null ? null : storable(value)
  })
export const times = <R>(rows: readonly R[], of: (row: R) => Date | null) =>
  rows.map((row) => of(row)?.toISOString() ?? null)
export const numbers = <R>(rows: readonly R[], of: (row: R) => number | null) =>
  rows.map((row) => {
    const value = of(row)
    return value === null ? null : String(value)
  })
export const byteas = <R>(rows: readonly R[], of: (row: R) => Buffer | null) =>
  rows.map((row) => {
    const value = of(row)
    return value === null ? null : `\\x${value.toString('hex')}`
  })

/** The least and the greatest of some ids: with them a statement reads the partitions that hold them and no others. */
export function idBounds(ids: readonly string[]): [least: string, greatest: string] {
  const sorted = ids.toSorted()
  return [sorted[0] ?? nilId, sorted.at(-1) ?? nilId]
}

const nilId = '00000000-0000-0000-0000-000000000000'
