import { and, desc, eq, getTableColumns, type SQL } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing, type Transaction } from './database.ts'
import { type LogPage, readLog, type SearchBounds, searchLog } from './log-search.ts'
import { auditLog } from './schema.ts'
import { madeWithin, type TimeSpan } from './time-span.ts'
import type { Page } from './workspaces.ts'

export { operatorWorkspace } from './schema/calls.ts'

const { workspaceId: _workspaceId, ...columns } = getTableColumns(auditLog)

/** One change through the API: who, what, when and how it ended. */
export type AuditEntry = Omit<typeof auditLog.$inferSelect, 'workspaceId'>

export interface AuditFilter extends TimeSpan {
  readonly actor?: string | undefined
  readonly action?: string | undefined
}

/** Written before the change is made: no change goes unlogged because the log could not be written after it. */
export function beginAudit(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  entry: Omit<AuditEntry, 'status'>,
): Promise<void> {
  return storing('begin audit entry', async () => {
    await queryable.orm.insert(auditLog).values({ workspaceId, ...entry })
  })
}

export function endAudit(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
  end: Pick<AuditEntry, 'status' | 'resourceId'>,
): Promise<void> {
  return storing('end audit entry', async () => {
    await queryable.orm
      .update(auditLog)
      .set(end)
      .where(and(eq(auditLog.workspaceId, workspaceId), eq(auditLog.id, id)))
  })
}

/** Newest first. */
export function listAuditEntries(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
  filter: AuditFilter,
  bounds?: SearchBounds,
): Promise<LogPage<AuditEntry>> {
  const { actor, action } = filter
  const theirs = and(
    eq(auditLog.workspaceId, workspaceId),
    actor === undefined ? undefined : eq(auditLog.actor, actor),
    action === undefined ? undefined : eq(auditLog.action, action),
    madeWithin(auditLog, filter),
  )
  const load = (tx: Transaction, within: SQL | undefined, limit: number) =>
    tx.orm.select(columns).from(auditLog).where(and(theirs, within)).orderBy(desc(auditLog.id)).limit(limit)
  const operation = 'list audit entries'
  // Without a filter the newest rows are the page.
  if ((actor ?? action) === undefined) return readLog(queryable, operation, page, auditLog, load)
  return searchLog(queryable, operation, workspaceId, page, filter, auditLog, load, bounds)
}
