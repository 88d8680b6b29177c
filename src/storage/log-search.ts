import { and, type Column, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import type { PgTable } from 'drizzle-orm/pg-core'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, StorageError, type Transaction, transaction } from './database.ts'
import { idsWithin, type TimeSpan } from './time-span.ts'
import type { Page } from './workspaces.ts'

/** What a search found of a page, newest first. */
export interface LogPage<Row> {
  readonly rows: Row[]
  /** The id at which it stopped, because it took long: earlier rows were not looked at. Null: the page is whole. */
  readonly stoppedAt: string | null
}

export interface SearchBounds {
  /** Rows that are read by the first step; each next one reads twice as many, up to `mostRows`. */
  readonly firstRows: number
  readonly mostRows: number
  /** After so long no further step is begun, ms. */
  readonly searchMs: number
}
/** A step of 40,000 rows takes some 0.2 s when they are in memory. */
const defaultBounds: SearchBounds = { firstRows: 5000, mostRows: 40_000, searchMs: 2000 }
/** When the database ends a statement, ms: a step is two, and its caller waits for 5 s. */
const statementMs = 2000

/** A log: of one workspace in the order of its ids, which begin with their time. */
type LogTable = PgTable & { readonly workspaceId: Column; readonly id: Column }
/** Loads the newest rows of those that are looked for, within these bounds. */
type Load<Row> = (tx: Transaction, bounds: SQL | undefined, limit: number) => PromiseLike<Row[]>

/** Loads a page that an index leads to. Throws as {@link searchLog}. */
export async function readLog<Row>(
  queryable: Queryable,
  operation: string,
  page: Page,
  table: LogTable,
  load: Load<Row>,
): Promise<LogPage<Row>> {
  const run = async (tx: Transaction) =>
    load(tx, page.before === null ? undefined : lt(table.id, page.before), page.limit)
  return { rows: await inTime(queryable, operation, run), stoppedAt: null }
}

/**
 * Looks for a page's rows among all of a workspace, of which there may be millions and none that fits: in steps of so many rows, for a time.
 * Throws StorageError; ApiError `database_unavailable` where the database takes too long even for one step, which is no reason to doubt its connections.
 */
export async function searchLog<Row>(
  queryable: Queryable,
  operation: string,
  workspaceId: WorkspaceId,
  page: Page,
  span: TimeSpan,
  table: LogTable,
  load: Load<Row>,
  bounds: SearchBounds = defaultBounds,
): Promise<LogPage<Row>> {
  const endsAt = performance.now() + bounds.searchMs
  const rows: Row[] = []
  let before = page.before
  for (let step = bounds.firstRows; ; step = Math.min(2 * step, bounds.mostRows)) {
    const above = before === null ? undefined : lt(table.id, before)
    const theirs = and(eq(table.workspaceId, workspaceId), above, idsWithin(table, span))
    const look = async (tx: Transaction) => {
      const least = await idOf(tx, table, theirs, step)
      const bounds = and(above, least === null ? undefined : gte(table.id, least))
      return { least, found: await load(tx, bounds, page.limit - rows.length) }
    }
    const looked = await inTime(queryable, operation, look).catch((error: unknown) => {
      // What was found so far is not lost to a step that took too long.
      if (before === page.before || !(error instanceof ApiError)) throw error
      return null
    })
    if (looked === null) return { rows, stoppedAt: before }
    rows.push(...looked.found)
    if (looked.least === null || rows.length >= page.limit) return { rows, stoppedAt: null }
    before = looked.least
    if (performance.now() >= endsAt) return { rows, stoppedAt: before }
  }
}

/** The id of the row so many from the newest; null: there are not so many. From the primary key alone. */
async function idOf(tx: Transaction, table: LogTable, theirs: SQL | undefined, number: number): Promise<string | null> {
  const [row] = await tx.orm.execute<{ id: string }>(sql`
    select ${table.id} as id from ${table} where ${theirs} order by ${table.id} desc offset ${number - 1} limit 1`)
  return row?.id ?? null
}

/** In a transaction whose statements the database ends itself: one that goes on for nobody keeps its connection from others. */
async function inTime<T>(queryable: Queryable, operation: string, run: (tx: Transaction) => Promise<T>): Promise<T> {
  const work = async (tx: Transaction) => {
    await tx.orm.execute(sql.raw(`set local statement_timeout = ${statementMs}`))
    return run(tx)
  }
  try {
    return await transaction(queryable, operation, work)
  } catch (error) {
    if (!(error instanceof StorageError && error.sqlState === '57014')) throw error
    throw new ApiError('database_unavailable', 'the search took too long; try again, or narrow it by since and until')
  }
}
