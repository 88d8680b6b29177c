import { and, desc, eq, getTableColumns, lt } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing } from './database.ts'
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
): Promise<AuditEntry[]> {
  const { actor, action } = filter
  const where = and(
    eq(auditLog.workspaceId, workspaceId),
    page.before === null ? undefined : lt(auditLog.id, page.before),
    actor === undefined ? undefined : eq(auditLog.actor, actor),
    action === undefined ? undefined : eq(auditLog.action, action),
    madeWithin(auditLog, filter),
  )
  return storing('list audit entries', () =>
    queryable.orm.select(columns).from(auditLog).where(where).orderBy(desc(auditLog.id)).limit(page.limit),
  )
}
