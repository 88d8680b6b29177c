import { type SQL, sql } from 'drizzle-orm'
import type { PgColumn } from 'drizzle-orm/pg-core'

/**
 * Characters of a text in a list. Phones choose flow tokens, screens and actions, of up to 700 kB each: a hundred rows of them would be
 * read, kept and written at once. The API takes flow tokens of as many characters, so no real one is cut.
 */
export const longestListed = 4096

/** The column of a list: its text, cut where the database has it. */
export function listed<Column extends PgColumn>(column: Column): SQL<Column['_']['data'] | Null<Column>> {
  return sql`left(${column}, ${sql.raw(String(longestListed))})`
}

type Null<Column extends PgColumn> = Column['_']['notNull'] extends true ? never : null
