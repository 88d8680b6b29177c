import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startHangingPort } from '../support/tenant.ts'
import * as does from '../support/tenant-behaviours.ts'
import { type AttemptSetup, activeHandles, setUpAttempts } from './attempt-setup.ts'

let setup: AttemptSetup
setUpAttempts((fresh) => {
  setup = fresh
})

describe('connections', () => {
  test('200 attempts one after another use one', async () => {
    setup.tenant.always(does.reply({ data: {} }))
    for (let i = 0; i < 200; i++) expect(await setup.send()).toMatchObject({ status: 200 })
    expect(new Set(setup.tenant.received.map((call) => call.connection))).toEqual(new Set([1]))
  })

  test('each webhook has its own', async () => {
    setup.tenant.always(does.reply({ data: {} }))
    for (const webhookId of ['wh_1', 'wh_2', 'wh_1', 'wh_2']) await setup.send({ webhookId })
    expect(setup.tenant.received.map((call) => call.connection)).toEqual([1, 2, 1, 2])
  })

  test('one that the server closed without a word costs no exchange', async () => {
    setup.tenant.always(does.replyThenClose({ data: {} }))
    for (let i = 0; i < 20; i++) {
      expect(await setup.send()).toMatchObject({ status: 200, failure: null })
      await eventually(() => setup.tenant.openSockets === 0, { everyMs: 1 })
    }
    expect(setup.tenant.received).toHaveLength(20)
  })

  test.each([
    ['closed', (socket: Socket) => socket.destroy()],
    ['reset', (socket: Socket) => socket.resetAndDestroy()],
  ])('one that was %s while it idled, unseen by us so far, costs no exchange', async (_, end) => {
    let idling: Socket | undefined
    setup.tenant.always((call) => {
      idling = call.socket
      return does.reply({ data: {} })(call)
    })
    for (let i = 0; i < 20; i++) {
      // From a timer, so that the loop looks at its sockets once more before undici writes the request.
      await pause(1)
      if (idling !== undefined) end(idling)
      expect(await setup.send()).toMatchObject({ status: 200, failure: null })
    }
    expect(setup.tenant.received.map((call) => call.connection)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  })

  test('one idles shorter than the server says, and is used once where it says a second', async () => {
    setup.tenant.next(does.replyWithHint(1), does.replyWithHint(2))
    await setup.send()
    await eventually(() => setup.tenant.openSockets === 0, { timeoutMs: 500 })
    await setup.send()
    await eventually(() => setup.tenant.openSockets === 0, { timeoutMs: 3_000 })
  })

  test('one of which the server says nothing is closed before the 5 s at which most servers close theirs', async () => {
    setup.tenant.next(does.raw('HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":{}}'))
    await setup.send()
    await eventually(() => setup.tenant.openSockets === 0, { timeoutMs: 4_900 })
  })

  test('one that is 4 min old is not used again, also where it was put aside before', async () => {
    const clock = { ms: 0 }
    const through = setup.open({ now: () => clock.ms })
    setup.tenant.always(does.reply({ data: {} }))
    for (const ms of [0, 239_999, 240_000, 480_000]) {
      clock.ms = ms
      expect(await setup.send({}, through)).toMatchObject({ status: 200 })
    }
    expect(setup.tenant.received.map((call) => call.connection)).toEqual([1, 1, 2, 3])
    await eventually(() => setup.tenant.openSockets === 1)
  })

  test('a name that leads elsewhere by then is judged again', async () => {
    const clock = { ms: 0 }
    let leadsTo = '127.0.0.1'
    const resolver = { resolve: async () => [leadsTo], close: () => {} }
    const through = setup.open({ now: () => clock.ms, resolver })
    setup.tenant.always(does.reply({ data: {} }))
    const url = `http://rebound.example:${new URL(setup.tenant.url).port}/`
    expect(await setup.send({ url }, through)).toMatchObject({ status: 200 })
    leadsTo = '10.0.0.1'
    clock.ms = 239_999
    expect(await setup.send({ url }, through)).toMatchObject({ status: 200 })
    clock.ms = 240_000
    expect(await setup.send({ url }, through)).toMatchObject({ failure: 'address_blocked' })
    await eventually(() => setup.tenant.openSockets === 0)
  })

  test('one that is in use when it comes of age is closed after that', async () => {
    const clock = { ms: 0 }
    const through = setup.open({ now: () => clock.ms })
    setup.tenant.next(does.reply({}), (call) => {
      clock.ms = 240_000
      return does.reply({})(call)
    })
    await setup.send({}, through)
    clock.ms = 239_999
    expect(await setup.send({}, through)).toMatchObject({ status: 200 })
    await eventually(() => setup.tenant.openSockets === 0)
    expect(setup.tenant.received.map((call) => call.connection)).toEqual([1, 1])
  })

  test('its age counts from before its address was judged, however long it took to connect', async () => {
    const clock = { ms: 0 }
    const resolver = {
      resolve: async () => {
        clock.ms += 14_000
        return ['127.0.0.1']
      },
      close: () => {},
    }
    const through = setup.open({ now: () => clock.ms, resolver })
    setup.tenant.always(does.reply({ data: {} }))
    const url = `http://slow.example:${new URL(setup.tenant.url).port}/`
    await setup.send({ url }, through)
    for (const ms of [239_999, 240_000]) {
      clock.ms = ms
      await setup.send({ url }, through)
    }
    expect(setup.tenant.received.map((call) => call.connection)).toEqual([1, 1, 2])
  })

  test('one that is still connecting when all are interrupted is our doing', async () => {
    const hanging = await startHangingPort()
    setup.extras.push(() => hanging.close())
    const sending = setup.send({ url: `http://127.0.0.1:${hanging.port}/` })
    setup.dispatchers.interrupt()
    expect(await sending).toMatchObject({ failure: 'connect_failed', fault: 'relevo', connectMs: null })
  })

  test('a header that cannot be sent is our fault and does not end the process', async () => {
    expect(await setup.send({ headers: { 'x-bad': 'a\nb' } })).toMatchObject({
      failure: 'connect_failed',
      fault: 'relevo',
    })
    expect(setup.tenant.received).toEqual([])
  })

  test('drop lets a request under way finish and closes the rest', async () => {
    setup.tenant.next(does.reply({}), does.delayed(100, {}))
    await setup.send()
    const slow = setup.send()
    await eventually(() => setup.tenant.received.length === 2)
    setup.dispatchers.drop('wh_1')
    expect(await slow).toMatchObject({ status: 200, failure: null })
    await eventually(() => setup.tenant.openSockets === 0)
  })

  test('close waits for what is under way, takes no more and leaves nothing', async () => {
    const before = activeHandles()
    setup.tenant.next(does.delayed(100, {}), does.reply({}), does.silence())
    const [slow, quick] = [setup.send(), setup.send({ webhookId: 'wh_2' })]
    await quick
    const silent = setup.send({ webhookId: 'wh_3', deadlineMs: 300 })
    await eventually(() => setup.tenant.received.length === 3)
    const closed = setup.dispatchers.close()
    expect(await setup.send({ webhookId: 'wh_4' })).toMatchObject({ failure: 'connect_failed', fault: 'relevo' })
    expect(await slow).toMatchObject({ status: 200 })
    expect(await silent).toMatchObject({ failure: 'timeout' })
    await closed
    await eventually(() => setup.tenant.openSockets === 0 && activeHandles() <= before)
  })
})
