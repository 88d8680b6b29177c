import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bounds, Lanes } from '../../../src/events/lanes.ts'
import type { RungAlarm } from '../../../src/events/queue.ts'

let made = 0
const alarm = (webhookId: string): RungAlarm => ({ deliveryId: String(++made), workspaceId: 'ws_1', webhookId })

describe('lanes', () => {
  it('whatever rings and ends, keep each webhook to its places and lose no alarm', () => {
    const webhookId = fc.constantFrom('a', 'b', 'c')
    const step = fc.oneof(
      fc.record({ kind: fc.constant('rings' as const), webhookId, count: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ kind: fc.constant('comes' as const), webhookId }),
      fc.record({ kind: fc.constant('looked' as const) }),
      fc.record({ kind: fc.constant('ends' as const), at: fc.nat(), isProven: fc.constantFrom(true, false, null) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const lanes = new Lanes()
        const underWay: RungAlarm[] = []
        let [added, started] = [0, 0]
        const start = () => {
          const next = lanes.start()
          started += next.length
          underWay.push(...next)
        }
        for (const step of steps) {
          if (step.kind === 'rings') {
            for (let ring = 0; ring < step.count; ring++) lanes.add(alarm(step.webhookId))
            added += step.count
          } else if (step.kind === 'comes') {
            if (lanes.hold(step.webhookId)) underWay.push(alarm(step.webhookId))
          } else if (step.kind === 'looked') {
            lanes.caughtUp(new Set(lanes.full()))
          } else if (underWay.length > 0) {
            const [ended] = underWay.splice(step.at % underWay.length, 1)
            if (ended === undefined) continue
            lanes.release(ended.webhookId, step.isProven)
          }
          start()
          for (const id of ['a', 'b', 'c']) {
            const count = underWay.filter((one) => one.webhookId === id).length
            expect(count).toBeLessThanOrEqual(bounds.proven)
          }
          expect(lanes.underWay).toBe(underWay.length)
        }
        expect(started + lanes.drain().length).toBe(added)
      }),
      { numRuns: 2000 },
    )
  })

  it('a webhook that never answered has two places, one that answers eight, one that fails two again', () => {
    const lanes = new Lanes()
    for (let ring = 0; ring < 40; ring++) lanes.add(alarm('a'))
    expect(lanes.start()).toHaveLength(bounds.unproven)
    expect(lanes.full()).toEqual(['a'])
    lanes.release('a', true)
    expect(lanes.start()).toHaveLength(bounds.proven - 1)
    for (let end = 0; end < bounds.proven - 1; end++) lanes.release('a', false)
    expect(lanes.start()).toHaveLength(bounds.unproven - 1)
  })

  it('a new delivery has a place at once, unless others of its webhook wait for one, here or in the queue', () => {
    const lanes = new Lanes()
    expect([lanes.hold('a'), lanes.hold('a'), lanes.hold('a')]).toEqual([true, true, false])
    lanes.release('a', true)
    // The third stands in the queue.
    expect(lanes.hold('a')).toBe(false)
    lanes.caughtUp(new Set(['a']))
    expect(lanes.hold('a')).toBe(false)
    lanes.caughtUp(new Set())
    expect(lanes.hold('a')).toBe(true)
    for (let ring = 0; ring < 40; ring++) lanes.add(alarm('b'))
    expect(lanes.start()).toHaveLength(bounds.unproven)
    lanes.release('b', true)
    expect(lanes.hold('b')).toBe(false)
  })

  it('a hundred webhooks that hang leave room for others', () => {
    const lanes = new Lanes()
    for (let webhook = 0; webhook < 100; webhook++) {
      for (let ring = 0; ring < 64; ring++) lanes.add(alarm(`hangs-${webhook}`))
    }
    expect(lanes.start()).toHaveLength(200)
    expect(lanes.room).toBeGreaterThan(0)
    lanes.add(alarm('lives'))
    expect(lanes.start().map(({ webhookId }) => webhookId)).toEqual(['lives'])
  })

  it('serves webhooks in turn where there are more alarms than places', () => {
    const lanes = new Lanes()
    const webhooks = Array.from({ length: bounds.all }, (_, index) => `wh-${index}`)
    for (const webhookId of webhooks) for (let ring = 0; ring < 4; ring++) lanes.add(alarm(webhookId))
    const first = lanes.start().map(({ webhookId }) => webhookId)
    expect(first).toHaveLength(bounds.all)
    for (const webhookId of first) lanes.release(webhookId, null)
    const second = lanes.start().map(({ webhookId }) => webhookId)
    expect(second.filter((webhookId) => first.includes(webhookId))).toEqual([])
  })
})
