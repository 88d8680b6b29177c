import { z } from 'zod'
import { decodeBase64Url } from '../crypto/base64.ts'
import { longestListed } from '../storage/listed-text.ts'
import type { Page } from '../storage/workspaces.ts'

const limit = z.coerce.number().int().min(1).max(100).default(20).describe('items of a page')

/** A pattern, or what judges a position that a pattern cannot. */
type PositionForm = Pick<RegExp, 'test'>

/** A cursor is opaque to callers: the base64url of where the page before ended. */
const cursor = (positionForm: PositionForm) =>
  z
    .string()
    .max(300)
    .transform((value) => decodeBase64Url(value)?.toString('latin1') ?? '')
    .refine((position) => positionForm.test(position), 'is not a cursor of this list')
    .optional()
    .describe('`nextCursor` of the page before')

/** The query members of every list. `positionForm`: what a decoded cursor must be. */
export const pageMembers = (positionForm: PositionForm) => ({ limit, cursor: cursor(positionForm) })

export const listOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ data: z.array(item), nextCursor: z.string().nullable().describe('null: this is the last page') })

/** Of members that a phone may have made long. */
export const cutInLists = `in a list at most its first ${longestListed} characters`

interface ListQuery {
  readonly limit: number
  readonly cursor?: string | undefined
}

interface ListBody<Item> {
  data: Item[]
  nextCursor: string | null
}

/**
 * One page of a list, newest first. `load` gets one more than the limit, which tells whether there is a next page; pages begin
 * after a row and not at a count, so that inserts move nothing.
 */
export async function pageOf<Row, Item>(
  query: ListQuery,
  load: (page: Page) => Promise<readonly Row[]>,
  position: (row: Row) => string,
  itemOf: (row: Row) => Item,
): Promise<ListBody<Item>> {
  const rows = await load({ limit: query.limit + 1, before: query.cursor ?? null })
  const shown = rows.slice(0, query.limit)
  const last = shown.at(-1)
  const hasMore = rows.length > shown.length && last !== undefined
  return {
    data: shown.map(itemOf),
    nextCursor: hasMore ? Buffer.from(position(last), 'latin1').toString('base64url') : null,
  }
}

export const byId = (row: { readonly id: string }): string => row.id
