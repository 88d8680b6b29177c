import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Stopwatch } from '../../../src/relay/stopwatch.ts'

/** A clock that moves when it is told to: no wall time is measured here. */
let nowMs: number
const pass = (ms: number) => {
  nowMs += ms
}
beforeEach(() => {
  nowMs = 5000
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
})
afterEach(() => {
  vi.restoreAllMocks()
})

const none = { verify: null, decrypt: null, enrich: null, webhook: null, encrypt: null }

describe('a stopwatch', () => {
  it('has null for every step that did not run', () => {
    expect(new Stopwatch(nowMs).read()).toEqual({ ...none, total: 0 })
  })

  it('ends each step where the next begins', () => {
    const watch = new Stopwatch(nowMs)
    pass(1)
    watch.lap('verify')
    pass(2)
    watch.lap('decrypt')
    pass(4)
    expect(watch.read()).toEqual({ ...none, verify: 1, decrypt: 2, total: 7 })
  })

  it('counts from the arrival of the call, which may lie before the watch was made', () => {
    const watch = new Stopwatch(nowMs - 10)
    watch.lap('verify')
    expect(watch.read()).toEqual({ ...none, verify: 10, total: 10 })
  })

  it('leaves out of every step, but not of the total, what is skipped', () => {
    const watch = new Stopwatch(nowMs)
    pass(3)
    watch.skip()
    pass(5)
    watch.lap('webhook')
    expect(watch.read()).toEqual({ ...none, webhook: 5, total: 8 })
  })

  it('goes on after it was read, and gives microseconds', () => {
    const watch = new Stopwatch(nowMs)
    pass(0.123_456)
    watch.lap('encrypt')
    expect(watch.read().encrypt).toBe(0.123)
    pass(1)
    expect(watch.read()).toEqual({ ...none, encrypt: 0.123, total: 1.123 })
  })
})
