import type { AttemptFailure } from '../domain/failure.ts'
import { AddressBlocked, ConnectFailed, PoolClosed, TlsFailed } from '../egress/errors.ts'
import type { CallResult } from './breaker.ts'

/** Whose doing a failed attempt is; a webhook is not held to account for ours. */
export type Fault = 'tenant' | 'relevo'

export interface FailureFacts {
  readonly failure: AttemptFailure
  readonly fault: Fault
}

/**
 * Errors of this machine, its network or its DNS server, and requests that undici refuses to build. ENETUNREACH is not
 * here: a tenant that only has IPv6 gives it as well.
 */
const oursByCode = new Set([
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'ENOBUFS',
  'EADDRNOTAVAIL',
  'ENETDOWN',
  'ECANCELLED',
  'UND_ERR_INVALID_ARG',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_NOT_SUPPORTED',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
])

/** Names an error that ended an attempt: by class where egress made it, by code where undici or Node did, never by message. */
export function readFailure(error: unknown): FailureFacts {
  if (error instanceof AddressBlocked) return { failure: 'address_blocked', fault: 'tenant' }
  if (error instanceof TlsFailed) return { failure: 'tls_failed', fault: 'tenant' }
  if (error instanceof PoolClosed) return { failure: 'connect_failed', fault: 'relevo' }
  if (error instanceof ConnectFailed) return { failure: 'connect_failed', fault: faultOfConnect(error.cause) }
  const code = codeOf(error)
  if (oursByCode.has(code)) return { failure: 'connect_failed', fault: 'relevo' }
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return { failure: 'reply_too_large', fault: 'tenant' }
  // The rest happened on a live connection: reset, closed, truncated, or bytes that are no HTTP.
  return { failure: 'connection_lost', fault: 'tenant' }
}

/** `ECONNREFUSED` is the tenant's from `connect`, ours from a DNS server that is not there. */
function faultOfConnect(cause: unknown): Fault {
  const syscall = typeof cause === 'object' && cause !== null && 'syscall' in cause ? String(cause.syscall) : ''
  if (syscall.startsWith('query') && codeOf(cause) === 'ECONNREFUSED') return 'relevo'
  return oursByCode.has(codeOf(cause)) ? 'relevo' : 'tenant'
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
}

const countedFailures: ReadonlySet<AttemptFailure> = new Set([
  'timeout',
  'connect_failed',
  'connection_lost',
  'tls_failed',
])

/** The part of an Attempt that the breaker judges by. */
type Judged = {
  readonly status: number | null
  readonly failure: AttemptFailure | null
  readonly fault: Fault | null
}

/**
 * What an attempt tells the breaker: nothing where it was our fault or the guard kept us from calling at all. Whoever answers, and be it
 * with a redirect, a 4xx or a body that is no reply, is there: a success.
 */
export function callResultOf(attempt: Judged): CallResult {
  if (countsAsBreakerFailure(attempt)) return 'failure'
  return attempt.fault === 'relevo' || attempt.failure === 'address_blocked' ? 'neutral' : 'success'
}

/** Contract §3 "Breaker and bounds": these and a 5xx count, a 2xx with a bad body does not; nor does what is our own fault. */
export function countsAsBreakerFailure(attempt: Judged): boolean {
  if (attempt.fault === 'relevo') return false
  if (attempt.status !== null && attempt.status >= 500) return true
  return attempt.failure !== null && countedFailures.has(attempt.failure)
}
