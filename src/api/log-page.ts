import type { LogPage } from '../storage/log-search.ts'
import type { Page } from '../storage/workspaces.ts'
import { byId, pageOf } from './list.ts'

/** For the description of a list whose filters are looked for row by row. */
export const pageMayBeShort =
  'A page of a filtered list may hold fewer items than `limit`, or none, and have more after it: a search of very many rows stops after two ' +
  'seconds, and `nextCursor` goes on where it stopped. Only `nextCursor: null` says that there is no more; `since` makes it short.'

/** As {@link pageOf}, where the search for a page may have stopped before it was full. */
export async function logPageOf<Row extends { readonly id: string }, Item>(
  query: { readonly limit: number; readonly cursor?: string | undefined },
  search: (page: Page) => Promise<LogPage<Row>>,
  itemOf: (row: Row) => Item,
): Promise<{ data: Item[]; nextCursor: string | null }> {
  let stoppedAt: string | null = null
  const load = async (page: Page) => {
    const found = await search(page)
    stoppedAt = found.stoppedAt
    return found.rows
  }
  const body = await pageOf(query, load, byId, itemOf)
  if (body.nextCursor !== null || stoppedAt === null) return body
  return { ...body, nextCursor: Buffer.from(stoppedAt, 'latin1').toString('base64url') }
}

/** Whether there is nothing at all, as opposed to nothing yet or nothing more. */
export function isEmptyLog(
  query: { readonly cursor?: string | undefined },
  body: { readonly data: readonly unknown[]; readonly nextCursor: string | null },
): boolean {
  return query.cursor === undefined && body.data.length === 0 && body.nextCursor === null
}
