import { sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, StorageError, type Transaction, transaction } from './database.ts'

/** What came of a look for rows that were on their way when their person or workspace went. */
export interface LookedAgain {
  /** How many were found. */
  readonly rows: number
  /** Whose were not all looked for, and why. */
  readonly failures: ReadonlyMap<WorkspaceId, unknown>
}

/** For one statement, ms: the database ends it itself. */
const statementMs = 30_000
/** For a group's up to ten, ms. */
const groupMs = 300_000

/** Looks for the rows of each group in a transaction of its own, until `signal`. Who fails holds up no other. Throws StorageError where the database does not answer. */
export async function lookAgain<Group extends { readonly workspaceId: WorkspaceId }>(
  queryable: Queryable,
  operation: string,
  groups: Iterable<Group> | AsyncIterable<Group>,
  look: (tx: Transaction, group: Group) => Promise<number>,
  signal: AbortSignal,
): Promise<LookedAgain> {
  const failures = new Map<WorkspaceId, unknown>()
  let rows = 0
  for await (const group of groups) {
    if (signal.aborted) break
    const work = async (tx: Transaction) => {
      await tx.orm.execute(sql.raw(`set local statement_timeout = ${statementMs}`))
      return look(tx, group)
    }
    try {
      rows += await transaction(queryable, operation, work, groupMs)
    } catch (error) {
      if (error instanceof StorageError && error.unanswered) throw error
      failures.set(group.workspaceId, error)
    }
  }
  return { rows, failures }
}
