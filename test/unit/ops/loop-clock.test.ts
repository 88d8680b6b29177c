import { stat } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { LoopClock } from '../../../src/ops/loop-clock.ts'
import { eventually } from '../../support/eventually.ts'

const block = (ms: number) => {
  for (const endsAt = performance.now() + ms; performance.now() < endsAt; );
}

describe('the clock of the event loop', () => {
  it('counts what is read after the loop was away from when it went', async () => {
    const clock = new LoopClock()
    clock.start()
    const { promise, resolve } = Promise.withResolvers<number>()
    setTimeout(() => {
      // Its answer is there long before the loop looks for it.
      stat('.', () => resolve(performance.now() - clock.arrival()))
      block(100)
    }, 25)
    expect(await promise).toBeGreaterThan(50)
    await eventually(() => clock.takeWorstMs() > 50)
    clock.stop()
  })

  it('all that is read in one turn came when its first did, and what is read in the next did not', async () => {
    const clock = new LoopClock()
    const first = clock.arrival()
    block(5)
    expect(clock.arrival()).toBe(first)
    await new Promise(setImmediate)
    expect(clock.arrival()).toBeGreaterThanOrEqual(first + 5)
  })

  it('what is read after it was stopped came when it was read', async () => {
    let now = 0
    const clock = new LoopClock(() => now)
    clock.start()
    clock.stop()
    now = 5000
    expect(clock.arrival()).toBe(5000)
  })
})
