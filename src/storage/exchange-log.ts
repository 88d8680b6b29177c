import { and, desc, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { type Queryable, storing, type Transaction } from './database.ts'
import { listed } from './listed-text.ts'
import { type LogPage, readLog, type SearchBounds, searchLog } from './log-search.ts'
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
  ...columnsOfSummary
} = columns
const columnsOfList = {
  ...columnsOfSummary,
  action: listed(exchanges.action),
  screen: listed(exchanges.screen),
  flowToken: listed(exchanges.flowToken),
}

/** An exchange with the bytes that were sent: to the webhook (`envelope`) and to Meta before encryption (`answer`). */
export type RecordedExchange = Omit<typeof exchanges.$inferSelect, 'workspaceId' | 'flowTokenDigest'>
export type ExchangeSummary = Omit<RecordedExchange, 'timings' | 'envelope' | 'answer' | 'answerScreen' | 'attempt'>

export interface ExchangeFilter extends TimeSpan {
  readonly outcome?: Outcome | undefined
  readonly flowToken?: string | undefined
  readonly flowId?: string | undefined
  readonly webhookId?: string | undefined
}

/** Newest first, texts that a phone chose cut to what a list shows. */
export function listExchanges(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
  filter: ExchangeFilter,
  bounds?: SearchBounds,
): Promise<LogPage<ExchangeSummary>> {
  const { outcome, flowToken, flowId, webhookId } = filter
  const conditions = [
    outcome && eq(exchanges.outcome, outcome),
    flowToken && eq(exchanges.flowTokenDigest, sql`sha256(convert_to(${flowToken}, 'UTF8'))`),
    flowId && eq(exchanges.flowId, flowId),
    webhookId && eq(exchanges.webhookId, webhookId),
    madeWithin(exchanges, filter),
  ]
  const load = (tx: Transaction, within: SQL | undefined, limit: number) =>
    tx.orm
      .select(columnsOfList)
      .from(exchanges)
      .where(
        and(eq(exchanges.workspaceId, workspaceId), within, ...conditions.map((condition) => condition || undefined)),
      )
      // A flow token's index has it so: in another order all of its exchanges would be read.
      .orderBy(flowToken === undefined ? desc(exchanges.id) : sql`${exchanges.id} desc nulls last`)
      .limit(limit)
  const operation = 'list exchanges'
  // A flow token has an index, and without a filter the newest rows are the page.
  const isSought = flowToken === undefined && (outcome ?? flowId ?? webhookId) !== undefined
  if (!isSought) return readLog(queryable, operation, page, exchanges, load)
  return searchLog(queryable, operation, workspaceId, page, filter, exchanges, load, bounds)
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
