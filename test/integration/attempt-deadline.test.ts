import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { Attempt } from '../../src/delivery/attempt.ts'
import { createResolver } from '../../src/egress/resolver.ts'
import { eventually } from '../support/eventually.ts'
import { startHangingPort } from '../support/tenant.ts'
import * as does from '../support/tenant-behaviours.ts'
import { type AttemptSetup, activeHandles, setUpAttempts } from './attempt-setup.ts'

let setup: AttemptSetup
setUpAttempts((fresh) => {
  setup = fresh
})

describe('the deadline', () => {
  const deadlineMs = 150

  async function expectTimeout(attempt: Promise<Attempt>, facts: object): Promise<void> {
    const ended = await attempt
    expect(ended).toMatchObject({ failure: 'timeout', fault: 'tenant', body: null, ...facts })
    expect(ended.durationMs).toBeGreaterThanOrEqual(deadlineMs)
    expect(ended.durationMs).toBeLessThan(1_000)
  }

  test.each([
    ['silence', does.silence(), { status: null, headMs: null }],
    ['a dripping body', does.dripping(10, 20), { status: 200 }],
    ['a dripping head', does.slowHead(20), { status: null, headMs: null }],
    ['a late reply', does.delayed(400, {}), { status: null }],
  ])('ends %s, and its connection', async (_, behaviour, facts) => {
    setup.tenant.next(behaviour)
    await expectTimeout(setup.send({ deadlineMs }), facts)
    await eventually(() => setup.tenant.openSockets === 0)
  })

  test('keeps what came of a body that did not end', async () => {
    setup.tenant.next(does.dripping(10, 20))
    const { received, bytes } = await setup.send({ deadlineMs })
    expect(bytes).toBeGreaterThan(0)
    expect(received.toString()).toMatch(/^\{"data":\{"text":"x+$/)
  })

  test('ends a connect that hangs; nothing of it is left', async () => {
    const hanging = await startHangingPort()
    setup.extras.push(() => hanging.close())
    const before = activeHandles()
    const url = `http://127.0.0.1:${hanging.port}/`
    await Promise.all(
      Array.from({ length: 5 }, () => expectTimeout(setup.send({ url, deadlineMs }), { connectMs: null })),
    )
    await eventually(() => activeHandles() <= before)
  })

  test('and nothing before it ends a connect that was cut off for an address that then refused', async () => {
    const hanging = await startHangingPort()
    setup.extras.push(() => hanging.close())
    const before = activeHandles()
    const resolver = { resolve: async () => ['127.0.0.1', '127.0.0.2'], close: () => {} }
    const url = `http://slow.example:${hanging.port}/`
    const ended = await setup.send({ url, deadlineMs: 600 }, setup.open({ resolver }))
    expect(ended).toMatchObject({ failure: 'timeout', connectMs: null })
    expect(ended.durationMs).toBeGreaterThanOrEqual(600)
    await eventually(() => activeHandles() <= before)
  })

  test('ends a TLS handshake that hangs', async () => {
    const mute = createServer((socket) => socket.resume().on('error', () => {}))
    await once(mute.listen(0, '127.0.0.1'), 'listening')
    setup.extras.push(() => mute.close())
    const { port } = mute.address() as AddressInfo
    await expectTimeout(setup.send({ url: `https://127.0.0.1:${port}/`, deadlineMs }), { connectMs: null })
    await eventually(async () => (await promisify(mute.getConnections.bind(mute))()) === 0)
  })

  test('ends a DNS server that does not answer', async () => {
    const mute = createSocket('udp4').bind(0, '127.0.0.1')
    await once(mute, 'listening')
    const asking = createResolver({ servers: () => [`127.0.0.1:${mute.address().port}`] })
    setup.extras.push(
      () => mute.close(),
      () => asking.close(),
    )
    await expectTimeout(setup.send({ url: 'http://slow.example/', deadlineMs }, setup.open({ resolver: asking })), {
      connectMs: null,
    })
  })

  test('a request that missed it before it could be sent never is', async () => {
    const { promise: resolved, resolve } = Promise.withResolvers<readonly string[]>()
    const { port } = new URL(setup.tenant.url)
    const through = setup.open({ resolver: { resolve: () => resolved, close: () => {} } })
    const url = `http://late.example:${port}/`
    await expectTimeout(setup.send({ url, deadlineMs }, through), { connectMs: null })
    resolve(['127.0.0.1'])
    setup.tenant.next(does.reply({}))
    expect(await setup.send({ url }, through)).toMatchObject({ status: 200 })
    expect(setup.tenant.received).toHaveLength(1)
  })

  test('does not wait for its turn when a webhook has 72 connections in use', async () => {
    setup.tenant.always(does.silence())
    const first = Array.from({ length: 72 }, () => setup.send({ deadlineMs: 600 }))
    await eventually(() => setup.tenant.received.length === 72)
    await expectTimeout(setup.send({ deadlineMs }), { connectMs: null })
    const waiting = setup.send({ deadlineMs: 5_000 })
    setup.tenant.always(does.reply({}))
    expect(new Set((await Promise.all(first)).map((it) => it.failure))).toEqual(new Set(['timeout']))
    expect(await waiting).toMatchObject({ status: 200, failure: null })
    expect(setup.tenant.received).toHaveLength(73)
  })
})
