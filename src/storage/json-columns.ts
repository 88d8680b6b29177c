import { storable } from './database.ts'

/**
 * Rows of a group as one parameter of JSON, for `json_to_recordset` in a statement that is prepared once, whatever the group's size. Dates, numbers and
 * ids go as they are; these are for the rest.
 */
export const textOf = (value: string | null) => (value === null ? null : storable(value))
export const byteaOf = (value: Buffer | null) => (value === null ? null : `\\x${value.toString('hex')}`)
