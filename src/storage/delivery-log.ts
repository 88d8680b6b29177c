import { and, asc, desc, eq, getTableColumns, inArray, isNull, lt, type SQL } from 'drizzle-orm'
import type { DeliveryStatus } from '../domain/delivery.ts'
import type { WebhookEvent } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing } from './database.ts'
import { attempts, deliveries } from './schema.ts'
import { madeWithin, type TimeSpan } from './time-span.ts'
import type { Page } from './workspaces.ts'

const { workspaceId: _workspaceId, flowTokenDigest: _digest, ...columns } = getTableColumns(deliveries)
const { envelope: _envelope, ...columnsOfList } = columns
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

/** Newest first. */
export function listDeliveries(
  queryable: Queryable,
  workspaceId: WorkspaceId,
  page: Page,
  filter: DeliveryFilter,
): Promise<DeliverySummary[]> {
  const { status, webhookId, event, eventId } = filter
  const conditions = [
    page.before === null ? undefined : lt(deliveries.id, page.before),
    status && withStatus(status),
    webhookId && eq(deliveries.webhookId, webhookId),
    event && eq(deliveries.event, event),
    eventId && eq(deliveries.eventId, eventId),
    madeWithin(deliveries, filter),
  ]
  return storing('list deliveries', () =>
    queryable.orm
      .select(columnsOfList)
      .from(deliveries)
      .where(and(eq(deliveries.workspaceId, workspaceId), ...conditions.map((condition) => condition || undefined)))
      .orderBy(desc(deliveries.id))
      .limit(page.limit),
  )
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
