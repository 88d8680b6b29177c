import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Resolver } from '../../src/egress/resolver.ts'
import { eventually } from '../support/eventually.ts'
import { collectGarbage } from '../support/garbage.ts'
import * as does from '../support/tenant-behaviours.ts'
import { type AttemptSetup, requestBody, setUpAttempts } from './attempt-setup.ts'

const chunkedHead = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
/** A body of so many bytes, each in a chunk of its own. */
const pieces = (count: number) => does.raw(`${chunkedHead}${'1\r\nx\r\n'.repeat(count)}0\r\n\r\n`)

let setup: AttemptSetup
setUpAttempts((fresh) => {
  setup = fresh
})

describe('a complete response', () => {
  test('is given whole, with its times', async () => {
    setup.tenant.next(does.reply({ screen: 'ONE', data: {} }, 200, { 'retry-after': '7' }))
    const attempt = await setup.send({ headers: { 'content-type': 'application/json', 'X-Webhook-Event': 'e' } })
    expect(attempt).toMatchObject({
      status: 200,
      failure: null,
      fault: null,
      contentType: 'application/json',
      retryAfter: '7',
      bytes: 26,
    })
    expect(attempt.body?.toString()).toBe('{"screen":"ONE","data":{}}')
    expect(attempt.connectMs).toBeLessThanOrEqual(attempt.headMs ?? 0)
    expect(attempt.headMs).toBeLessThanOrEqual(attempt.durationMs)
    const [call] = setup.tenant.received
    expect(call).toMatchObject({ method: 'POST', path: '/hook', rawBody: requestBody })
    expect(call?.headers).toMatchObject({ 'content-length': '10', 'x-webhook-event': 'e', connection: 'keep-alive' })
  })

  test.each([
    ['204', does.noContent(), 204, ''],
    ['500', does.reply({ error: 'x' }, 500), 500, '{"error":"x"}'],
    ['427', does.reply({ error_msg: 'x' }, 427), 427, '{"error_msg":"x"}'],
    ['HTML', does.html(), 200, '<!doctype html><h1>It works!</h1>'],
    ['no JSON', does.text('[1]'), 200, '[1]'],
    [
      'an informational head first',
      does.raw('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'),
      200,
      '{}',
    ],
    [
      'a body up to the end of the connection',
      does.raw('HTTP/1.1 200 OK\r\n\r\n{"data":{}}', true),
      200,
      '{"data":{}}',
    ],
    ['a reply in pieces', does.dripping(1, 5, 3), 200, '{"data":{"text":"xxx"}}'],
  ])('is a response, whatever it is: %s', async (_, behaviour, status, text) => {
    setup.tenant.next(behaviour)
    const attempt = await setup.send()
    expect(attempt).toMatchObject({ status, failure: null })
    expect(attempt.body?.toString()).toBe(text)
  })

  test('a redirect is not followed', async () => {
    setup.tenant.next(does.redirect(`${setup.tenant.url}/elsewhere`))
    expect(await setup.send()).toMatchObject({ status: 302, failure: null })
    expect(setup.tenant.received).toHaveLength(1)
  })

  test('the query goes along', async () => {
    setup.tenant.next(does.reply({}))
    await setup.send({ url: `${setup.tenant.url}?a=b%20c` })
    expect(setup.tenant.received[0]?.path).toBe('/hook?a=b%20c')
  })
})

describe('the size of a reply', () => {
  test('up to the cap is read', async () => {
    setup.tenant.next(does.huge(1_000), does.huge(1_000, { chunked: true }))
    expect(await setup.send({ maxReplyBytes: 1_000 })).toMatchObject({ failure: null, bytes: 1_000 })
    expect(await setup.send({ maxReplyBytes: 1_000 })).toMatchObject({ failure: null, bytes: 1_000 })
  })

  test('over the cap it is not read on, announced or not', async () => {
    setup.tenant.next(does.huge(50_000_000), does.huge(50_000_000, { chunked: true }))
    const announced = await setup.send()
    expect(announced).toMatchObject({ status: 200, failure: 'reply_too_large', fault: 'tenant', body: null, bytes: 0 })
    const unannounced = await setup.send()
    expect(unannounced).toMatchObject({ status: 200, failure: 'reply_too_large', body: null })
    expect(unannounced.bytes).toBeLessThan(1_000_000)
    await eventually(() => setup.tenant.openSockets === 0)
  })

  test('an error page over the cap is a bad status', async () => {
    setup.tenant.next(does.huge(300_000, { status: 502 }), does.huge(300_000, { status: 502, chunked: true }))
    expect(await setup.send()).toMatchObject({ status: 502, failure: 'bad_status' })
    expect(await setup.send()).toMatchObject({ status: 502, failure: 'bad_status' })
  })

  test('in pieces counts each as 16 bytes at least', async () => {
    setup.tenant.next(pieces(64), pieces(65))
    expect(await setup.send({ maxReplyBytes: 1_024 })).toMatchObject({ failure: null, bytes: 64 })
    expect(await setup.send({ maxReplyBytes: 1_024 })).toMatchObject({ failure: 'reply_too_large', bytes: 65 })
  })

  test('is what it keeps: not what came around it', async () => {
    const megabytes = () => {
      collectGarbage()
      return process.memoryUsage().arrayBuffers / 1_000_000
    }
    const before = megabytes()
    let isSent = false
    // A byte of body in 60 kB of what no one counts, 500 times; then nothing more.
    setup.tenant.next(async ({ socket }) => {
      socket.write(chunkedHead)
      for (let piece = 0; piece < 500; piece++) {
        if (!socket.write(`1;${'a'.repeat(60_000)}\r\nx\r\n`)) await once(socket, 'drain')
      }
      isSent = true
    })
    const attempt = setup.send({ deadlineMs: 5_000 })
    await eventually(() => isSent && megabytes() - before < 5, { timeoutMs: 20_000 })
    expect(await attempt).toMatchObject({ failure: 'timeout', bytes: 500 })
  })

  test.each([
    ['16', 16, { status: 200, failure: null }],
    ['more, as a head without end,', 17, { status: null, failure: 'reply_too_large', fault: 'tenant' }],
  ])('informational heads: %s', async (_, count, facts) => {
    const heads = 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(count)
    setup.tenant.next(does.raw(`${heads}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}`))
    expect(await setup.send()).toMatchObject(facts)
  })

  test('100 Continue, which no request asks for, ends the connection: docs/outcomes.md', async () => {
    setup.tenant.next(does.raw('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))
    expect(await setup.send()).toMatchObject({ status: null, failure: 'connection_lost' })
  })

  test('a head without end is too large', async () => {
    setup.tenant.next(does.raw(`HTTP/1.1 200 OK\r\nx-long: ${'x'.repeat(100_000)}\r\n\r\n`, true))
    expect(await setup.send()).toMatchObject({ status: null, failure: 'reply_too_large' })
  })
})

describe('a connection that breaks', () => {
  test.each([
    ['reset before the head', does.reset(), null],
    ['reset in the body', does.resetInBody(), 200],
    ['closed before the head', does.hangUp(), null],
    ['shorter than announced', does.truncated(), 200],
    ['a chunk that does not end', does.raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab', true), 200],
    ['no HTTP', does.raw('SSH-2.0-OpenSSH_9.0\r\n', true), null],
    [
      'an upgrade that nobody asked for',
      does.raw('HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
      null,
    ],
  ])('is connection_lost: %s', async (_, behaviour, status) => {
    setup.tenant.next(behaviour)
    expect(await setup.send()).toMatchObject({ status, failure: 'connection_lost', fault: 'tenant', body: null })
    await eventually(() => setup.tenant.openSockets === 0)
  })

  test('refused, or a name that is not there: connect_failed', async () => {
    const free = createServer()
    await once(free.listen(0, '127.0.0.1'), 'listening')
    const { port } = free.address() as AddressInfo
    await new Promise((resolve) => free.close(resolve))
    expect(await setup.send({ url: `http://127.0.0.1:${port}/` })).toMatchObject({
      status: null,
      failure: 'connect_failed',
      fault: 'tenant',
    })
    const nowhere: Resolver = { resolve: () => Promise.reject(new Error('ENOTFOUND')), close: () => {} }
    expect(await setup.send({ url: 'http://nowhere.example/' }, setup.open({ resolver: nowhere }))).toMatchObject({
      failure: 'connect_failed',
    })
  })
})
