import { asynchronousDeadlineMs } from '../domain/delivery.ts'
import type { WebhookEvent } from '../domain/events.ts'
import { newUuid, type WorkspaceId } from '../domain/ids.ts'
import type { WebhookFormat } from '../domain/webhook.ts'
import { storageOn } from '../storage/backends.ts'
import { type SqlTransaction, statementsOf } from '../storage/database.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { Backlog } from './backlog.ts'
import type { Alarm, Queue } from './queue.ts'

/** An event that webhooks are told of asynchronously. */
export interface Announcement {
  readonly workspaceId: WorkspaceId
  /** The envelope's id. */
  readonly id: string
  readonly event: WebhookEvent
  /** The envelope's timestamp. */
  readonly now: Date
  readonly resourceId: string | null
  readonly flowId: string | null
  readonly clientId: string | null
  readonly envelope: Buffer
  /** Meta's decrypted body, where there is one: what a `plain` webhook gets. */
  readonly plain: Buffer | null
}

/** One delivery for each of these webhooks; of one whose queue is full it is `exhausted` at once. */
export function deliveriesTo(
  webhooks: readonly { readonly id: string; readonly format: WebhookFormat }[],
  announcement: Announcement,
  backlog: Backlog,
): NewDelivery[] {
  const { workspaceId, id: eventId, event, now, resourceId, flowId, clientId, envelope, plain } = announcement
  const createdAt = new Date()
  return webhooks.map(({ id: webhookId, format }) => ({
    workspaceId,
    id: newUuid(createdAt.getTime()),
    webhookId,
    eventId,
    event,
    resourceId,
    occurredAt: now,
    envelope: format === 'plain' && plain !== null ? plain : envelope,
    flowId,
    clientId,
    createdAt,
    reason: backlog.admit(workspaceId, webhookId) ? null : 'queue_full',
  }))
}

/** Whether a new delivery waits for an attempt. */
export const waits = ({ reason, envelope }: NewDelivery): boolean => reason === null && envelope !== null

/**
 * When the alarm of a delivery rings that its maker attempts from memory: that one died, or the database did not take what became of it.
 * Longer than an attempt and its writing down; with the take, within the 45 s of contract.md §4.
 */
export const heldMs = asynchronousDeadlineMs + 15_000

/** Writes deliveries and sets their alarms in the transaction `tx`. Repeatable. `heldIds`: those that are attempted from memory. */
export async function enqueue(
  { queue, backlog }: { readonly queue: Queue; readonly backlog: Backlog },
  tx: SqlTransaction,
  deliveries: readonly NewDelivery[],
  heldIds: ReadonlySet<string> = new Set(),
): Promise<void> {
  if (deliveries.length === 0) return
  const heldTo = new Date(Date.now() + heldMs)
  const alarms = deliveries.filter(waits).map(({ id, workspaceId, webhookId }) => ({
    deliveryId: id,
    workspaceId,
    webhookId,
    dueAt: heldIds.has(id) ? heldTo : null,
    place: backlog.isLong(webhookId) ? ('back' as const) : ('front' as const),
  }))
  const { insertDeliveries } = storageOn(queue.backend)
  await Promise.all([insertDeliveries(tx, deliveries), queue.set(statementsOf(tx), alarms)])
}

/** Sets alarms anew for deliveries that are due now, in the transaction `tx`. */
export async function ringAnew(
  queue: Queue,
  tx: SqlTransaction,
  deliveries: readonly Omit<Alarm, 'dueAt' | 'place'>[],
): Promise<void> {
  const statements = statementsOf(tx)
  const place = deliveries.length > 1 ? 'back' : 'front'
  await queue.remove(
    statements,
    deliveries.map(({ deliveryId }) => deliveryId),
  )
  await queue.set(
    statements,
    deliveries.map((delivery) => ({ ...delivery, dueAt: null, place })),
  )
}
