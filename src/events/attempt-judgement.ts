import type { Attempt } from '../delivery/attempt.ts'
import {
  type DeliveryReason,
  type DeliveryResult,
  type DeliveryStatus,
  nextAttemptAt,
  readRetryAfter,
} from '../domain/delivery.ts'
import type { AttemptFailure } from '../domain/failure.ts'
import { newUuid } from '../domain/ids.ts'
import type { DeliveryProgress, MadeAttempt, WaitingDelivery } from '../storage/delivery-work.ts'

/** How much of a response's body is kept. */
const keptBodyBytes = 4096

/** An attempt, judged: where its delivery stands now, and what it says of the webhook. */
export interface Judged {
  readonly progress: DeliveryProgress
  readonly result: DeliveryResult
}

/** 2xx ends a delivery, whatever its body; all else is tried again on the contract's schedule. `random`: from 0 to 1. */
export function judgeAttempt(
  delivery: WaitingDelivery,
  attempt: Attempt,
  sentAt: Date,
  at: Date,
  random: number,
): Judged {
  const failure = deliveryFailureOf(attempt)
  const made: MadeAttempt = { ...keptOf(attempt), id: newUuid(sentAt.getTime()), createdAt: sentAt, failure }
  const attempts = delivery.attempts + 1
  const base = { ...nameOf(delivery), at, attempts, attempt: made }
  if (failure === null) {
    const { failures } = delivery
    const progress = { ...base, status: 'delivered', reason: null, failures, dueAt: null } as const
    return { progress, result: 'success' }
  }
  const failures = delivery.failures + 1
  if (attempt.status === 410) return { progress: ended(base, failures, 'webhook_disabled'), result: 'gone' }
  const dueAt = nextAttemptAt(failures, at, readRetryAfter(attempt.retryAfter, at), random)
  const progress = dueAt === null ? ended(base, failures, 'schedule_ended') : waiting(base, failures, dueAt)
  return { progress, result: attempt.fault === 'relevo' ? 'neutral' : 'failure' }
}

/** A delivery to which there is to be no attempt. */
export function withoutAttempt(delivery: WaitingDelivery, reason: DeliveryReason, at: Date): DeliveryProgress {
  const { attempts, failures } = delivery
  return ended({ ...nameOf(delivery), at, attempts, attempt: null }, failures, reason)
}

/** Null for any 2xx, also where its body then failed: nobody waits for it. */
export function deliveryFailureOf({ status, failure }: Attempt): AttemptFailure | null {
  if (status !== null && status >= 200 && status < 300) return null
  return failure ?? 'bad_status'
}

function keptOf({ status, durationMs, connectMs, headMs, bytes, headers, received }: Attempt) {
  const responseHeaders = status === null ? null : Object.fromEntries(Object.entries(headers).flatMap(present))
  // Of its own: the row waits, and a part would keep the whole.
  const responseBody = Buffer.from(received.subarray(0, keptBodyBytes))
  return { status, durationMs, connectMs, headMs, bytes, responseHeaders, responseBody }
}

function present([name, value]: [string, string | string[] | undefined]): [string, string | string[]][] {
  return value === undefined ? [] : [[name, value]]
}

function nameOf({ workspaceId, id, webhookId, dueAt }: WaitingDelivery) {
  return { workspaceId, deliveryId: id, webhookId, wasDueAt: dueAt }
}

type Base = Omit<DeliveryProgress, 'status' | 'reason' | 'failures' | 'dueAt'>

function ended(base: Base, failures: number, reason: DeliveryReason): DeliveryProgress {
  return { ...base, status: 'exhausted' satisfies DeliveryStatus, reason, failures, dueAt: null }
}

function waiting(base: Base, failures: number, dueAt: Date): DeliveryProgress {
  return { ...base, status: 'failed' satisfies DeliveryStatus, reason: null, failures, dueAt }
}
