import { beforeEach, describe, expect, test } from 'vitest'
import type { LateReplies } from '../../src/delivery/attempt.ts'
import { LateListeners } from '../../src/delivery/late-listeners.ts'
import { eventually } from '../support/eventually.ts'
import { startHangingPort, type TenantCall } from '../support/tenant.ts'
import * as does from '../support/tenant-behaviours.ts'
import { type AttemptSetup, activeHandles, setUpAttempts } from './attempt-setup.ts'

const deadlineMs = 100

let setup: AttemptSetup
let listeners: LateListeners
let came: { readonly ms: number; readonly status: number }[]
let late: LateReplies
setUpAttempts((fresh) => {
  setup = fresh
})
beforeEach(() => {
  listeners = new LateListeners()
  came = []
  late = { listeners, came: (ms, status) => void came.push({ ms, status }) }
  setup.extras.push(() => listeners.close())
})

async function timeOut(webhookId = 'wh_1'): Promise<void> {
  const attempt = await setup.send({ deadlineMs, webhookId }, setup.dispatchers, late)
  expect(attempt).toMatchObject({ failure: 'timeout', fault: 'tenant', body: null })
  expect(attempt.durationMs).toBeGreaterThanOrEqual(deadlineMs)
  expect(attempt.durationMs).toBeLessThan(1000)
}

describe('a reply after the deadline', () => {
  test.each([
    ['with 200', does.delayed(300, { data: {} }), 200],
    ['with another status', does.delayed(300, {}, 503), 503],
    ['whose body began before it', does.dripping(10, 60, 5), 200],
  ])('is measured: %s; its connection is used again', async (_, behaviour, status) => {
    setup.tenant.next(behaviour, does.reply({}))
    await timeOut()
    expect(came).toEqual([])
    await eventually(() => came.length > 0)
    expect(came).toEqual([{ ms: expect.any(Number), status }])
    expect(came[0]?.ms).toBeGreaterThanOrEqual(299)
    expect(came[0]?.ms).toBeLessThan(2000)
    expect(await setup.send()).toMatchObject({ status: 200 })
    expect(setup.tenant.received.map(({ connection }) => connection)).toEqual([1, 1])
  })

  test('is waited for 5 s and no longer, be it silent or dripping', async () => {
    setup.tenant.next(does.silence(), does.dripping(10, 50))
    const startedAt = performance.now()
    await Promise.all([timeOut(), timeOut()])
    await eventually(() => setup.tenant.openSockets < 2, { timeoutMs: 10_000 })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(deadlineMs + 4990)
    await eventually(() => setup.tenant.openSockets === 0)
    expect(came).toEqual([])
  })

  test.each([
    ['is reset', (call: TenantCall) => does.reset()(call)],
    ['is too large', (call: TenantCall) => does.huge(300_000, { chunked: true })(call)],
    ['announces to be too large', (call: TenantCall) => does.huge(300_000)(call)],
  ])('that %s is dropped, and its place is free again', async (_, end) => {
    setup.tenant.always(async (call) => {
      await call.pause(200)
      await end(call)
    })
    await Promise.all(Array.from({ length: 8 }, () => timeOut()))
    await eventually(() => setup.tenant.openSockets === 0)
    expect(came).toEqual([])
    setup.tenant.always(does.delayed(200, {}))
    await Promise.all(Array.from({ length: 8 }, () => timeOut()))
    await eventually(() => came.length === 8)
  })

  test('in time is none', async () => {
    setup.tenant.next(does.delayed(50, {}))
    expect(await setup.send({ deadlineMs: 2000 }, setup.dispatchers, late)).toMatchObject({ status: 200 })
    expect(came).toEqual([])
  })
})

describe('places to listen from', () => {
  test('are 8 for each webhook; who finds none is ended at the deadline', async () => {
    setup.tenant.always(does.delayed(400, {}))
    await Promise.all([...Array.from({ length: 9 }, () => timeOut()), timeOut('wh_2')])
    await eventually(() => setup.tenant.openSockets === 9)
    await eventually(() => came.length === 9)
    expect(setup.tenant.openSockets).toBe(9)
  })

  test('take none of the 64 connections that exchanges may have', async () => {
    const { promise: allThere, resolve } = Promise.withResolvers<void>()
    setup.tenant.always(async (call) => {
      await allThere
      await does.reply({})(call)
    })
    await Promise.all(Array.from({ length: 8 }, () => timeOut()))
    const exchanges = Array.from({ length: 64 }, () => setup.send({ deadlineMs: 20_000 }))
    await eventually(() => setup.tenant.received.length === 72, { timeoutMs: 4000 })
    resolve()
    expect(new Set((await Promise.all(exchanges)).map(({ failure }) => failure))).toEqual(new Set([null]))
  })

  test('are not taken by requests that were never sent', async () => {
    const hanging = await startHangingPort()
    setup.extras.push(() => hanging.close())
    const before = activeHandles()
    const url = `http://127.0.0.1:${hanging.port}/`
    const attempts = Array.from({ length: 9 }, () => setup.send({ url, deadlineMs }, setup.dispatchers, late))
    expect(new Set((await Promise.all(attempts)).map(({ connectMs }) => connectMs))).toEqual(new Set([null]))
    const taken = Array.from({ length: 8 }, () => listeners.take('wh_1', { stop: () => {} }))
    expect(taken).toEqual(Array(8).fill(true))
    await eventually(() => activeHandles() <= before, { timeoutMs: 4000 })
  })

  test('are left at once when the process ends, and given to nobody any more', async () => {
    setup.tenant.always(does.silence())
    await Promise.all([timeOut(), timeOut('wh_2')])
    expect(setup.tenant.openSockets).toBe(2)
    listeners.close()
    await setup.dispatchers.close()
    await eventually(() => setup.tenant.openSockets === 0)
    expect(listeners.take('wh_1', { stop: () => {} })).toBe(false)
    expect(came).toEqual([])
  })
})
