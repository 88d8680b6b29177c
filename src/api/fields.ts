import { z } from 'zod'
import { type IdKind, idPattern } from '../domain/ids.ts'

/** True for what PostgreSQL can hold as text and give back unchanged: no NUL, no half of a surrogate pair. */
export function isPlainText(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed()
}

/** A string of 1 to `max` UTF-16 units. */
export const text = (max: number) => possiblyEmptyText(max).min(1)

export const possiblyEmptyText = (max: number) =>
  z.string().max(max).refine(isPlainText, 'must not have NUL characters or lone surrogates')

/** The id of another resource. Its form is not judged: what names nothing is not found. */
export const reference = text(100)

export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** The id in a route's path. */
export const pathId = (kind: IdKind) => z.strictObject({ id: z.string().regex(idPattern(kind)) })

/** Meta's ids are digits today; nothing promises that they stay so. */
export const wabaIdPattern = /^[0-9A-Za-z_-]{1,64}$/
export const metaId = z.string().regex(wabaIdPattern, 'must be 1 to 64 digits, letters, _ or -')

/** The WABA in a route's path, before what belongs to it. */
export const pathWaba = { wabaId: z.string().regex(wabaIdPattern) }

/** Stored and compared as given: contract.md §6. */
export const phoneNumber = z
  .string()
  .regex(/^\+[0-9]{8,15}$/, 'must be + and 8 to 15 digits')
  .describe('`+` and 8 to 15 digits; stored and compared as given')

// What both JavaScript and PostgreSQL write with four digits for the year, and a day later too.
const earliestMs = Date.UTC(1970)
const latestMs = Date.UTC(9999)

/** ISO 8601 with an offset or Z, as a Date. */
export const time = z.iso
  .datetime({ offset: true, error: 'must be an ISO 8601 date and time with Z or an offset' })
  .transform((value) => new Date(value))
  .refine((value) => value.getTime() >= earliestMs && value.getTime() < latestMs, 'must be in the years 1970 to 9998')

/** The span of a list. */
export const since = time.describe('inclusive')
export const until = time.describe('exclusive')

/** A list without repetitions. */
export const unique = <Item extends z.ZodType>(items: z.ZodArray<Item>) =>
  items.refine((list) => new Set(list).size === list.length, 'must not have the same item twice')

/** A time in an answer. */
export const isoTime = z.iso.datetime()

export function iso(date: Date): string
export function iso(date: Date | null): string | null
export function iso(date: Date | null): string | null {
  return date === null ? null : date.toISOString()
}
