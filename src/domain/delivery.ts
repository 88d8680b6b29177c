/** Where an asynchronous delivery stands: `failed` waits for its next attempt, as `pending` does for its first. */
export const deliveryStatuses = ['pending', 'failed', 'delivered', 'exhausted', 'expunged'] as const
export type DeliveryStatus = (typeof deliveryStatuses)[number]

/** Why a delivery is `exhausted`. */
export const deliveryReasons = [
  'schedule_ended',
  'queue_full',
  'webhook_disabled',
  'webhook_inactive',
  'webhook_deleted',
] as const
export type DeliveryReason = (typeof deliveryReasons)[number]

/** How long one attempt of an asynchronous delivery may take, ms: contract.md §4. */
export const asynchronousDeadlineMs = 15_000

/** How many deliveries of one webhook may wait: contract.md §4. */
export const mostWaiting = 50_000

const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** How long after each failure the next attempt is made, ms, give or take a fifth: contract.md §4. */
export const retryDelaysMs = [
  5 * second,
  30 * second,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
] as const
const jitter = 0.2
/** A webhook may ask for more time, but not for more than the schedule's longest pause. */
const longestRetryAfterMs = 24 * hour

/**
 * When the next attempt is due after the `failures`-th failure (from 1); null: that was the last. `retryAfterMs`: what the webhook asked for.
 * `random`: from 0 to 1.
 */
export function nextAttemptAt(failures: number, now: Date, retryAfterMs: number | null, random: number): Date | null {
  const delayMs = retryDelaysMs[failures - 1]
  if (delayMs === undefined) return null
  const jittered = delayMs * (1 - jitter + 2 * jitter * random)
  const asked = Math.min(retryAfterMs ?? 0, longestRetryAfterMs)
  return new Date(now.getTime() + Math.round(Math.max(jittered, asked)))
}

/** Milliseconds that a `Retry-After` asks for (RFC 9110 §10.2.3: seconds or a date); null for none, or what is neither. */
export function readRetryAfter(header: string | null, now: Date): number | null {
  if (header === null) return null
  const text = header.trim()
  if (/^\d+$/.test(text)) return Number(text) * second
  // A date begins with a weekday's name; Date.parse alone would read much else as one.
  const at = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? null : Math.max(0, at - now.getTime())
}

/** Of a webhook's asynchronous deliveries. */
export interface DeliveryHealth {
  /** Since when nothing but failures. */
  readonly failingSince: Date | null
  readonly failureWarnedAt: Date | null
  /** Since when they are stopped. */
  readonly deliveriesDisabledAt: Date | null
}

export const healthy: DeliveryHealth = { failingSince: null, failureWarnedAt: null, deliveriesDisabledAt: null }

/** `gone`: HTTP 410. `neutral`: a failure that is not the webhook's. */
export type DeliveryResult = 'success' | 'failure' | 'gone' | 'neutral'

const warnAfterMs = day
/** A webhook whose deliveries fail for so long, and that answers no exchange meanwhile, is told of no more. */
export const disableAfterMs = 5 * day

/** A webhook's health after an attempt that ended at `at`, and what is to be done about it. */
export function healthAfter(
  before: DeliveryHealth,
  result: DeliveryResult,
  at: Date,
): { readonly health: DeliveryHealth; readonly change: 'warn' | 'disable' | null } {
  if (result === 'neutral' || before.deliveriesDisabledAt !== null) return { health: before, change: null }
  if (result === 'success') return { health: healthy, change: null }
  const failingSince = before.failingSince ?? at
  const failingMs = at.getTime() - failingSince.getTime()
  if (result === 'gone' || failingMs >= disableAfterMs) {
    return { health: { ...before, failingSince, deliveriesDisabledAt: at }, change: 'disable' }
  }
  if (failingMs >= warnAfterMs && before.failureWarnedAt === null) {
    return { health: { ...before, failingSince, failureWarnedAt: at }, change: 'warn' }
  }
  return { health: { ...before, failingSince }, change: null }
}
