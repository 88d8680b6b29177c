import { and, desc, eq, getTableColumns, lt, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { type Queryable, storing } from './database.ts'
import { exchanges } from './schema.ts'
import { madeWithin, type TimeSpan } from './time-span.ts'
import type { Page } from './workspaces.ts'

const { workspaceId: _workspaceId, flowTokenDigest: _digest, ...columns } = getTableColumns(exchanges)
const {
  timings: _timings,
  envelope: _envelope,
  answer: _answer,
  answerScreen: _screen,
  attempt: _attempt,
  ...columnsOfList
} = columns

/** An exchange with the bytes that were sent: to the webhook (`envelope`) and to Meta before encryption (`answer`). */
export type RecordedExchange = Omit<typeof exchanges.$inferSelect, 'workspaceId' | 'flowTokenDigest'>
export type ExchangeSummary = Omit<RecordedExchange, 'timings' | 'envelope' | 'answer' | 'answerScreen' | 'attempt'>

export interface ExchangeFilter extends TimeSpan {
  readonly outcome?: Outcome | undefined
  readonly flowToken?: string | undefined
  readonly flowId?: string | undefined
  readonly webhookId?: string | undefined
}

/** Newest first. */
export function listExchanges(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
  filter: ExchangeFilter,
): Promise<ExchangeSummary[]> {
  const { outcome, flowToken, flowId, webhookId } = filter
  const conditions = [
    page.before === null ? undefined : lt(exchanges.id, page.before),
    outcome && eq(exchanges.outcome, outcome),
    flowToken && eq(exchanges.flowTokenDigest, sql`sha256(convert_to(${flowToken}, 'UTF8'))`),
    flowId && eq(exchanges.flowId, flowId),
    webhookId && eq(exchanges.webhookId, webhookId),
    madeWithin(exchanges, filter),
  ]
  return storing('list exchanges', () =>
    queryable.orm
      .select(columnsOfList)
      .from(exchanges)
      .where(and(eq(exchanges.workspaceId, workspaceId), ...conditions.map((condition) => condition || undefined)))
      .orderBy(desc(exchanges.id))
      .limit(page.limit),
  )
}

/** `id`: a UUID. */
export function findExchange(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
): Promise<RecordedExchange | null> {
  return storing('find exchange', async () => {
    const where = and(eq(exchanges.workspaceId, workspaceId), eq(exchanges.id, id))
    const [row] = await queryable.orm.select(columns).from(exchanges).where(where)
    return row ?? null
  })
}
