import { and, asc, desc, eq, getTableColumns, gte, inArray, isNull, lt, type SQL } from 'drizzle-orm'
import { firstIdAt, timeOfId } from '../domain/day.ts'
import type { DeliveryStatus } from '../domain/delivery.ts'
import type { WebhookEvent } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing, type Transaction } from './database.ts'
import { listed } from './listed-text.ts'
import { type LogPage, readLog, type SearchBounds, searchLog } from './log-search.ts'
import { attempts, deliveries } from './schema.ts'
import { idSlackMs, madeWithin, type TimeSpan } from './time-span.ts'
import type { Page } from './workspaces.ts'

const { workspaceId: _workspaceId, flowTokenDigest: _digest, ...columns } = getTableColumns(deliveries)
const { envelope: _envelope, ...columnsOfSummary } = columns
const columnsOfList = { ...columnsOfSummary, resourceId: listed(deliveries.resourceId) }
const { workspaceId: _ofAttempt, deliveryId: _deliveryId, ...columnsOfAttempt } = getTableColumns(attempts)

/** A delivery with the bytes of its attempts. */
export type RecordedDelivery = Omit<typeof deliveries.$inferSelect, 'workspaceId' | 'flowTokenDigest'>
export type DeliverySummary = Omit<RecordedDelivery, 'envelope'>
export type RecordedAttempt = Omit<typeof attempts.$inferSelect, 'workspaceId' | 'deliveryId'>

export interface DeliveryFilter extends TimeSpan {
  /** `never_delivered`: at least one attempt failed or there is to be none, and none was a success. */
  readonly status?: DeliveryStatus | 'never_delivered' | undefined
  readonly webhookId?: string | undefined
  readonly event?: WebhookEvent | undefined
  readonly eventId?: string | undefined
}

/** Newest first, flow tokens cut to what a list shows. */
export function listDeliveries(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
  filter: DeliveryFilter,
  bounds?: SearchBounds,
): Promise<LogPage<DeliverySummary>> {
  const { status, webhookId, event, eventId } = filter
  const conditions = [
    status && withStatus(status),
    webhookId && eq(deliveries.webhookId, webhookId),
    event && eq(deliveries.event, event),
    eventId && and(eq(deliveries.eventId, eventId), madeFor(eventId)),
    madeWithin(deliveries, filter),
  ]
  const load = (tx: Transaction, within: SQL | undefined, limit: number) =>
    tx.orm
      .select(columnsOfList)
      .from(deliveries)
      .where(
        and(eq(deliveries.workspaceId, workspaceId), within, ...conditions.map((condition) => condition || undefined)),
      )
      .orderBy(desc(deliveries.id))
      .limit(limit)
  const operation = 'list deliveries'
  // Those that wait for a webhook have an index, an event's are of minutes, and without a filter the newest rows are the page.
  const isOfIndex = webhookId !== undefined && (status === 'pending' || status === 'failed')
  const isSought = !isOfIndex && eventId === undefined && (status ?? webhookId ?? event) !== undefined
  if (!isSought) return readLog(queryable, operation, page, deliveries, load)
  return searchLog(queryable, operation, workspaceId, page, filter, deliveries, load, bounds)
}

/** An event's deliveries are made with it, at most a second later where several are told of as one: a minute before, ten after. */
function madeFor(eventId: string): SQL | undefined {
  const at = timeOfId(eventId)
  return and(gte(deliveries.id, firstIdAt(at - idSlackMs)), lt(deliveries.id, firstIdAt(at + 10 * idSlackMs)))
}

function withStatus(status: DeliveryStatus | 'never_delivered'): SQL | undefined {
  if (status !== 'never_delivered') return eq(deliveries.status, status)
  return and(inArray(deliveries.status, ['failed', 'exhausted']), isNull(deliveries.deliveredAt))
}

/** `id`: a UUID. */
export function findDelivery(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  id: string,
): Promise<RecordedDelivery | null> {
  return storing('find delivery', async () => {
    const where = and(eq(deliveries.workspaceId, workspaceId), eq(deliveries.id, id))
    const [row] = await queryable.orm.select(columns).from(deliveries).where(where)
    return row ?? null
  })
}

/** Oldest first. A delivery has 11 at most, and one more for each time that it was redelivered: the first 1,000. */
export function listAttempts(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  deliveryId: string,
): Promise<RecordedAttempt[]> {
  return storing('list attempts', () =>
    queryable.orm
      .select(columnsOfAttempt)
      .from(attempts)
      .where(and(eq(attempts.workspaceId, workspaceId), eq(attempts.deliveryId, deliveryId)))
      .orderBy(asc(attempts.id))
      .limit(1000),
  )
}
