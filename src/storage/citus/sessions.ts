import type postgres from 'postgres'
import { storing } from '../database.ts'
import { readSessions, type SessionQuery, type StoredSession, sessionStatements } from '../sessions.ts'

const statements = sessionStatements('$2')

/** The same, a workspace at a time: Citus takes a statement to one shard only if it names the workspace as a value. */
export function loadSessions(
  sql: postgres.Sql,
  queries: readonly SessionQuery[],
  withAnswers: boolean,
): Promise<StoredSession[]> {
  const statement = withAnswers ? statements.withAnswers : statements.plain
  const places = Map.groupBy(queries.keys(), (at) => queries[at]?.workspaceId ?? '')
  return storing('load sessions', async () => {
    const sessions: StoredSession[] = []
    await Promise.all(
      [...places].map(async ([workspaceId, ats]) => {
        const asked = ats.flatMap((at) => queries[at] ?? [])
        const read = await readSessions(sql, statement, asked, [workspaceId])
        for (const [turn, at] of ats.entries()) sessions[at] = read[turn] as StoredSession
      }),
    )
    return sessions
  })
}
