import { describe, expect, it } from 'vitest'
import { ExchangeLine, type ShedReason } from '../../../src/relay/exchange-line.ts'

/** A processor of which every piece of work takes its time by a clock of its own. */
function rig(cost = { serve: 2, shed: 1, rest: 4 }) {
  let now = 0
  let pending: (() => void) | null = null
  const line = new ExchangeLine({
    now: () => now,
    nextTurn: (run) => {
      pending = run
    },
  })
  const refusing: boolean[] = []
  line.tell({ refusing: (isRefusing) => refusing.push(isRefusing) })
  const begun: { name: string; shed: ShedReason | null; waited: number }[] = []
  let restMs = 0
  const enter = (name: string, { workspaceId = 'ws_1', bytes = 1000, ends = Promise.resolve() } = {}) => {
    const at = now
    return line.enter({ workspaceId, bytes, at }, async (shed) => {
      begun.push({ name, shed, waited: now - at })
      now += shed === null ? cost.serve : cost.shed
      // What an exchange brings later, in the turns that follow.
      if (shed === null) restMs += cost.rest
      await ends
    })
  }
  /** One turn of the event loop. */
  const turn = async () => {
    const run = pending
    pending = null
    run?.()
    await Promise.resolve()
    now += restMs + 0.1
    restMs = 0
    return run !== null
  }
  const pass = (ms: number) => {
    now += ms
  }
  /** So many arrivals a second, for so long; none while new connections are refused. */
  const offer = async (perSecond: number, forMs: number) => {
    const until = now + forMs
    let next = now
    let refused = 0
    while (now < until) {
      for (; next <= now; next += 1000 / perSecond) {
        if (line.isRefusing) refused++
        else void enter('offered')
      }
      if (!(await turn())) now += 0.5
    }
    return { refused }
  }
  return { line, begun, refusing, enter, turn, pass, offer, clock: () => now }
}

describe('the line of exchanges', () => {
  it('begins what came at the end of the turn, in order', async () => {
    const { enter, turn, begun } = rig()
    const first = enter('a')
    void enter('b')
    expect(begun).toEqual([])
    await turn()
    await first
    expect(begun).toMatchObject([
      { name: 'a', shed: null },
      { name: 'b', shed: null },
    ])
  })

  it('begins no more than a slice in one turn', async () => {
    const { enter, turn, begun } = rig()
    for (let at = 0; at < 10; at++) void enter(String(at))
    await turn()
    expect(begun.length).toBe(2)
    await turn()
    expect(begun.length).toBe(4)
  })

  it('serves workspaces in turn', async () => {
    const { enter, turn, begun } = rig()
    for (const name of ['a1', 'a2', 'a3', 'a4']) void enter(name, { workspaceId: 'ws_a' })
    void enter('b1', { workspaceId: 'ws_b' })
    await turn()
    expect(begun.map(({ name }) => name)).toEqual(['a1', 'b1'])
  })

  it('serves a burst late rather than not at all', async () => {
    const { enter, turn, begun } = rig()
    for (let at = 0; at < 60; at++) void enter(String(at))
    while (await turn());
    expect(begun.every(({ shed }) => shed === null)).toBe(true)
    expect(begun.at(-1)?.waited).toBeGreaterThan(150)
  })

  it('serves what one webhook may have at once, and refuses nobody for what two may have, however slow the processor', async () => {
    for (const calls of [64, 150]) {
      const { enter, turn, begun, refusing } = rig({ serve: 30, shed: 10, rest: 0 })
      for (let call = 0; call < calls; call++) void enter(String(call))
      while (await turn());
      expect(begun.filter(({ shed }) => shed === null).length).toBeGreaterThanOrEqual(64)
      expect([begun.length, refusing]).toEqual([calls, []])
    }
  })

  it('serves a short line whatever it waited: something else had the processor', async () => {
    const { enter, turn, pass, begun, refusing } = rig()
    for (let at = 0; at < 20; at++) {
      void enter(String(at))
      pass(200)
    }
    while (await turn()) pass(100)
    expect(begun.every(({ shed }) => shed === null)).toBe(true)
    expect(refusing).toEqual([])
  })

  it('begins nothing while connections keep coming, but not for ever', async () => {
    const { line, enter, turn, begun } = rig()
    void enter('a')
    let turns = 0
    for (; begun.length === 0; turns++) {
      line.connectionCame()
      await turn()
    }
    expect(turns).toBeGreaterThan(10)
    expect(turns).toBeLessThan(100)
  })

  it('sheds beyond what may be under way', async () => {
    const { enter, turn, begun } = rig()
    const { promise, resolve } = Promise.withResolvers<void>()
    for (let at = 0; at < 6; at++) {
      void enter('big', { bytes: 60 * 1024 * 1024, ends: promise })
      await turn()
    }
    expect(begun.map(({ shed }) => shed)).toEqual([null, null, null, null, null, 'in_flight'])
    resolve()
    await promise
    await turn()
    void enter('after')
    await turn()
    expect(begun.at(-1)?.shed).toBe(null)
  })

  it('sheds at once beyond what those that wait may hold', async () => {
    const { enter, turn, begun, line } = rig()
    const bytes = 40 * 1024 * 1024
    void enter('waits', { bytes })
    void enter('too much', { bytes })
    void enter('small')
    expect(begun).toMatchObject([{ name: 'too much', shed: 'in_flight' }])
    expect(line.waiting).toBe(2)
    while (await turn());
    expect(begun.slice(1)).toMatchObject([
      { name: 'waits', shed: null },
      { name: 'small', shed: null },
    ])
    void enter('again', { bytes })
    expect(line.waiting).toBe(1)
    await turn()
    expect(begun.at(-1)).toMatchObject({ name: 'again', shed: null })
  })

  it('counts what a call takes besides its body', async () => {
    const { enter, turn, line } = rig({ serve: 0, shed: 0, rest: 0 })
    for (let call = 0; call < 20_000; call++) void enter('empty', { bytes: 0 })
    expect(line.waiting).toBe(8192)
    while (await turn());
  })

  it('an exchange that fails leaves its place', async () => {
    const { line, turn } = rig()
    const failing = line.enter({ workspaceId: 'ws_1', bytes: 1, at: 0 }, () => Promise.reject(new Error('no')))
    await turn()
    await expect(failing).rejects.toThrow('no')
    expect({ waiting: line.waiting, underWay: line.underWay }).toEqual({ waiting: 0, underWay: 0 })
  })

  it.each([1.2, 2, 3, 10])(
    'at %s times the capacity: replies at four fifths of it, nobody waits for long, and it ends',
    async (times) => {
      const cost = { serve: 2, shed: 1, rest: 4 }
      const { line, begun, refusing, offer, turn, clock } = rig(cost)
      const capacity = 1000 / (cost.serve + cost.rest)
      await offer(capacity * times, 20_000)
      const served = begun.filter(({ shed }) => shed === null)
      expect(served.length).toBeGreaterThan(0.8 * capacity * 20)
      expect(begun.some(({ shed }) => shed === 'waited')).toBe(true)
      expect(Math.max(...begun.map(({ waited }) => waited))).toBeLessThan(1200)
      if (times >= 2) expect(refusing).toContain(true)
      const endedAt = clock()
      while (await turn());
      expect(clock() - endedAt).toBeLessThan(1000)
      expect(line.isRefusing).toBe(false)
      const before = begun.length
      await offer(capacity / 2, 2000)
      expect(begun.slice(before).every(({ shed }) => shed === null)).toBe(true)
    },
  )

  it('lets deliveries step back while exchanges wait, and a few through', async () => {
    const { line, enter, turn, pass } = rig()
    expect(line.roomForDeliveries()).toBe(Number.POSITIVE_INFINITY)
    void enter('a')
    pass(200)
    const room = [line.roomForDeliveries(), line.roomForDeliveries()]
    expect(room[0]).toBeGreaterThan(0)
    expect(room[0]).toBeLessThan(10)
    expect(room[1]).toBe(0)
    while (await turn());
    expect(line.roomForDeliveries()).toBe(Number.POSITIVE_INFINITY)
  })
})
