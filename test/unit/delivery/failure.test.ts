import { errors } from 'undici'
import { describe, expect, test } from 'vitest'
import { callResultOf, countsAsBreakerFailure, readFailure } from '../../../src/delivery/failure.ts'
import { AddressBlocked, ConnectFailed, PoolClosed, TlsFailed } from '../../../src/egress/errors.ts'

const nodeError = (code: string, syscall = 'connect') => Object.assign(new Error(code), { code, syscall })

describe('readFailure', () => {
  test.each([
    ['the guard refused', new AddressBlocked(), 'address_blocked', 'tenant'],
    ['a bad certificate', new TlsFailed(nodeError('DEPTH_ZERO_SELF_SIGNED_CERT')), 'tls_failed', 'tenant'],
    ['refused', new ConnectFailed(nodeError('ECONNREFUSED')), 'connect_failed', 'tenant'],
    ['unreachable', new ConnectFailed(nodeError('EHOSTUNREACH')), 'connect_failed', 'tenant'],
    ['an unknown name', new ConnectFailed(nodeError('ENOTFOUND', 'queryA')), 'connect_failed', 'tenant'],
    ['several addresses, all failed', new ConnectFailed(new AggregateError([])), 'connect_failed', 'tenant'],
    ['no DNS server', new ConnectFailed(nodeError('ECONNREFUSED', 'queryAaaa')), 'connect_failed', 'relevo'],
    ['no file descriptor left', new ConnectFailed(nodeError('EMFILE')), 'connect_failed', 'relevo'],
    ['no local port left', new ConnectFailed(nodeError('EADDRNOTAVAIL')), 'connect_failed', 'relevo'],
    ['a pool that was closed', new PoolClosed(), 'connect_failed', 'relevo'],
    ['a header that cannot be sent', new errors.InvalidArgumentError('x'), 'connect_failed', 'relevo'],
    ['a reset', nodeError('ECONNRESET', 'read'), 'connection_lost', 'tenant'],
    ['a close', new errors.SocketError('other side closed'), 'connection_lost', 'tenant'],
    ['a short body', new errors.ResponseContentLengthMismatchError(), 'connection_lost', 'tenant'],
    ['bytes that are no HTTP', nodeError('HPE_INVALID_CONSTANT'), 'connection_lost', 'tenant'],
    ['a head without end', new errors.HeadersOverflowError(), 'reply_too_large', 'tenant'],
    ['anything', 'not even an error', 'connection_lost', 'tenant'],
  ] as const)('%s', (_, error, failure, fault) => {
    expect(readFailure(error)).toEqual({ failure, fault })
  })
})

describe('countsAsBreakerFailure', () => {
  test.each([
    [null, 'timeout', true],
    [200, 'timeout', true],
    [null, 'connect_failed', true],
    [200, 'connection_lost', true],
    [null, 'tls_failed', true],
    [null, 'address_blocked', false],
    [200, 'reply_too_large', false],
    [503, 'bad_status', true],
    [404, 'bad_status', false],
    [500, null, true],
    [599, null, true],
    [404, null, false],
    [302, null, false],
    [427, null, false],
    [200, null, false],
  ] as const)('status %s, failure %s: %s', (status, failure, counts) => {
    expect(countsAsBreakerFailure({ status, failure, fault: failure === null ? null : 'tenant' })).toBe(counts)
  })

  test('what is our own fault never counts', () => {
    expect(countsAsBreakerFailure({ status: null, failure: 'connect_failed', fault: 'relevo' })).toBe(false)
  })

  test.each([
    [null, 'timeout', 'tenant', 'failure'],
    [500, null, null, 'failure'],
    [200, null, null, 'success'],
    [404, 'bad_status', 'tenant', 'success'],
    [200, 'reply_too_large', 'tenant', 'success'],
    [null, 'address_blocked', 'tenant', 'neutral'],
    [null, 'connect_failed', 'relevo', 'neutral'],
  ] as const)('the breaker hears of status %s, failure %s by %s: %s', (status, failure, fault, result) => {
    expect(callResultOf({ status, failure, fault })).toBe(result)
  })
})
