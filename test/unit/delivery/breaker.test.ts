import { describe, expect, test } from 'vitest'
import { start } from './gatekeeper-setup.ts'

describe('opening', () => {
  test('19 failures leave it closed, the 20th opens it', () => {
    const { changes, calls, call, state } = start()
    calls(19, 'failure')
    expect(state()).toBe('closed')
    expect(call('failure')).toBe('closed')
    expect(state()).toBe('open')
    expect(call('success')).toBe('breaker_open')
    expect(changes).toEqual([{ webhookId: 'wh_1', to: 'open', by: 'calls', calls: 20, failed: 20 }])
  })

  test('half of the calls is enough, less is not', () => {
    const { calls, state } = start()
    calls(11, 'success')
    calls(10, 'failure')
    expect(state()).toBe('closed')
    calls(1, 'failure')
    expect(state()).toBe('open')
  })

  test('only the last 30 s count', () => {
    const { clock, calls, state } = start()
    calls(19, 'failure')
    clock.ms += 30_000
    calls(19, 'failure')
    expect(state()).toBe('closed')
    clock.ms += 29_999
    calls(1, 'failure')
    expect(state()).toBe('open')
  })

  test('neutral results do not count', () => {
    const { calls, state } = start()
    calls(100, 'neutral')
    calls(19, 'failure')
    expect(state()).toBe('closed')
  })

  test('one webhook does not open the other', () => {
    const { call, calls } = start()
    calls(20, 'failure')
    expect(call('success', 'wh_2')).toBe('closed')
  })
})

describe('probing', () => {
  test('after 5 s one probe at a time; five successes close it', () => {
    const { clock, changes, probes, admit, release, calls, call, state } = start()
    calls(20, 'failure')
    clock.ms += 4_999
    expect(call('success')).toBe('breaker_open')
    clock.ms += 1
    expect(state()).toBe('half_open')
    for (let i = 0; i < 5; i++) {
      const probe = admit()
      expect(probe.kind).toBe('probe')
      expect(admit().kind).toBe('breaker_open')
      release(probe, 'success')
    }
    expect(state()).toBe('closed')
    expect(changes.slice(1)).toEqual([
      { webhookId: 'wh_1', to: 'half_open' },
      { webhookId: 'wh_1', to: 'closed', by: 'probes', openMs: 5_000, refused: 6 },
    ])
    expect(probes).toEqual(Array(5).fill('success'))
    calls(19, 'failure')
    expect(state()).toBe('closed')
  })

  test('a failed probe opens it for another 5 s and the count begins anew', () => {
    const { clock, changes, gatekeeper, calls, call, state } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    calls(4, 'success')
    expect(call('failure')).toBe('probe')
    expect(gatekeeper.open()).toMatchObject([{ state: 'open', sinceMs: clock.ms }])
    clock.ms += 5_000
    calls(4, 'success')
    expect(gatekeeper.open()).toMatchObject([{ state: 'half_open', sinceMs: clock.ms }])
    calls(1, 'success')
    expect(state()).toBe('closed')
    expect(changes.at(-1)).toMatchObject({ to: 'closed', openMs: 10_000 })
  })

  test('a neutral probe only makes room for the next', () => {
    const { clock, calls, call, state } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    calls(4, 'success')
    expect(call('neutral')).toBe('probe')
    expect(state()).toBe('half_open')
    expect(call('success')).toBe('probe')
    expect(state()).toBe('closed')
  })

  test('a probe that never ends is given up 2 s after the longest deadline; what it says later is not heard', () => {
    const { clock, admit, release, calls, call, state } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    const lost = admit()
    clock.ms += 9_999
    expect(call('success')).toBe('breaker_open')
    clock.ms += 1
    const next = admit()
    expect(next.kind).toBe('probe')
    release(lost, 'failure')
    expect(state()).toBe('half_open')
    expect(admit().kind).toBe('breaker_open')
    release(next, 'success')
    calls(4, 'success')
    expect(state()).toBe('closed')
  })

  test('calls from before it opened change nothing when they end', () => {
    const { clock, admit, release, calls, state } = start()
    const held = Array.from({ length: 40 }, () => admit())
    calls(20, 'failure')
    clock.ms += 5_000
    for (const admission of held.slice(20)) release(admission, 'failure')
    expect(state()).toBe('half_open')
    calls(5, 'success')
    for (const admission of held.slice(0, 20)) release(admission, 'failure')
    expect(state()).toBe('closed')
  })
})

describe('mode off', () => {
  test('never opens, and closes what was open', () => {
    const { admit, release, calls, state, changes } = start()
    calls(20, 'failure')
    for (let i = 0; i < 100; i++) {
      const admission = admit('wh_1', 'ws_1', 'off')
      expect(admission.kind).toBe('unguarded')
      release(admission, 'failure')
    }
    expect(state()).toBe('closed')
    expect(changes.at(-1)).toMatchObject({ to: 'closed', by: 'configuration' })
  })

  test('what was called while it was off, or before, does not count once it is on', () => {
    const { admit, release, calls, state } = start()
    calls(10, 'failure')
    const before = Array.from({ length: 20 }, () => admit())
    const during = Array.from({ length: 20 }, () => admit('wh_1', 'ws_1', 'off'))
    calls(1, 'failure')
    for (const admission of [...before, ...during]) release(admission, 'failure')
    calls(18, 'failure')
    expect(state()).toBe('closed')
    calls(1, 'failure')
    expect(state()).toBe('open')
  })
})

describe('closing by hand', () => {
  test('forgets what failed, keeps count of what is in flight, and does not hear its end', () => {
    const { gatekeeper, admit, release, calls, call, state } = start()
    const held = Array.from({ length: 63 }, () => admit())
    calls(20, 'failure')
    gatekeeper.close('wh_1')
    expect(state()).toBe('closed')
    expect(call('success')).toBe('closed')
    held.push(admit())
    expect(call('success')).toBe('overloaded')
    for (const admission of held) release(admission, 'failure')
    expect(state()).toBe('closed')
    expect(call('success')).toBe('closed')
  })

  test('a probe under way does not open it again', () => {
    const { clock, gatekeeper, admit, release, calls, state } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    const probe = admit()
    gatekeeper.close('wh_1')
    release(probe, 'failure')
    expect(state()).toBe('closed')
  })

  test('does nothing where there is nothing to close', () => {
    const { gatekeeper, calls, changes } = start()
    gatekeeper.close('wh_1')
    calls(5, 'failure')
    gatekeeper.close('wh_1')
    expect(changes).toEqual([])
    calls(19, 'failure')
    expect(changes).toEqual([])
  })
})

test('an open breaker still probes after half an hour without calls, and is forgotten after an hour', () => {
  const { clock, call, calls, changes, state } = start()
  calls(20, 'failure')
  clock.ms += 1_800_000
  expect(call('neutral', 'wh_2')).toBe('closed')
  expect(call('neutral')).toBe('probe')
  clock.ms += 3_600_000
  expect(state()).toBe('closed')
  expect(changes.at(-1)).toMatchObject({ to: 'closed', by: 'disuse' })
  expect(call('neutral')).toBe('closed')
})

describe('bounds', () => {
  test('64 at once per webhook', () => {
    const { admit, release, call } = start()
    const held = Array.from({ length: 64 }, () => admit())
    expect(new Set(held.map((it) => it.kind))).toEqual(new Set(['closed']))
    expect(call('success')).toBe('overloaded')
    expect(call('success', 'wh_2')).toBe('closed')
    for (const admission of held.slice(0, 1)) release(admission, 'success')
    expect(call('success')).toBe('closed')
  })

  test('512 at once per workspace, whatever the breakers', () => {
    const { admit, release, call } = start()
    const held = Array.from({ length: 512 }, (_, i) => admit(`wh_${i % 8}`, 'ws_1', i % 2 ? 'on' : 'off'))
    expect(call('success', 'wh_new')).toBe('overloaded')
    expect(call('success', 'wh_new', 'ws_2')).toBe('closed')
    for (const admission of held.slice(0, 1)) release(admission, 'success', 'wh_0')
    expect(call('success', 'wh_new')).toBe('closed')
  })

  test('a probe that finds no room does not take the place of the next', () => {
    const { clock, admit, release, call, calls } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    const held = Array.from({ length: 512 }, (_, i) => admit(`wh_other_${i % 8}`))
    expect(call('success')).toBe('overloaded')
    for (const admission of held.slice(0, 1)) release(admission, 'success', 'wh_other_0')
    expect(call('success')).toBe('probe')
  })
})

test('counts the webhooks that were called lately, by state', () => {
  const { clock, gatekeeper, call, calls } = start()
  expect(gatekeeper.count()).toEqual({ closed: 0, open: 0, half_open: 0 })
  calls(20, 'failure')
  clock.ms += 5_000
  for (let i = 0; i < 20; i++) call('failure', 'wh_2')
  call('success', 'wh_3')
  expect(gatekeeper.count()).toEqual({ closed: 1, open: 1, half_open: 1 })
  clock.ms += 31_000
  call('success', 'wh_4')
  expect(gatekeeper.count()).toEqual({ closed: 1, open: 0, half_open: 2 })
})
