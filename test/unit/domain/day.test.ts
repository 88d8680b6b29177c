import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dayMs, dayOf, firstIdAt, nameOfDay, timeOfId } from '../../../src/domain/day.ts'
import { newUuid } from '../../../src/domain/ids.ts'

// Later than any clock, so that newUuid, which never goes back, takes the time it is given.
const coming = fc.integer({ min: Date.now(), max: 253_402_300_799_999 })
const any = fc.integer({ min: 0, max: 253_402_300_799_999 })

/** A UUIDv7 of a time, with all that RFC 9562 leaves to chance. */
const idAt = (unixMs: number, chance: bigint) => {
  const hex = unixMs.toString(16).padStart(12, '0')
  const rest = chance.toString(16).padStart(19, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${rest.slice(0, 3)}-8${rest.slice(3, 6)}-${rest.slice(7)}`
}
const chances = fc.bigInt({ min: 0n, max: 2n ** 76n - 1n })

describe('the first id of a time', () => {
  it('is before every id of that time or later, and after every earlier one', () => {
    fc.assert(
      fc.property(any, any, chances, (time, other, chance) => {
        const id = idAt(other, chance)
        expect(firstIdAt(time) <= id).toBe(time <= other)
        expect(timeOfId(id)).toBe(other)
        expect(timeOfId(firstIdAt(time))).toBe(time)
      }),
    )
  })

  it('keeps every id that we make within its day', () => {
    fc.assert(
      fc.property(fc.array(coming, { minLength: 1, maxLength: 20 }), (times) => {
        for (const time of times.sort((a, b) => a - b)) {
          const id = newUuid(time)
          const day = dayOf(timeOfId(id))
          expect(firstIdAt(day) <= id && id < firstIdAt(day + dayMs)).toBe(true)
        }
      }),
    )
  })

  it('stays a UUID for times that none has', () => {
    for (const time of [-1, 0, 2 ** 48, 1e20])
      expect(firstIdAt(time)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-0000-0000-0{12}$/)
  })
})

describe('a day', () => {
  it('begins at midnight UTC and is named by its date; days meet without a gap', () => {
    fc.assert(
      fc.property(any, (time) => {
        const day = dayOf(time)
        expect(day <= time && time < day + dayMs).toBe(true)
        expect(dayOf(day)).toBe(day)
        expect(dayOf(day - 1)).toBe(day - dayMs)
        expect(new Date(day).toISOString()).toMatch(/T00:00:00\.000Z$/)
        expect(nameOfDay(day)).toBe(new Date(time).toISOString().slice(0, 10).replaceAll('-', ''))
      }),
    )
  })

  it('is the right one at its borders', () => {
    expect(nameOfDay(dayOf(Date.parse('2026-02-28T23:59:59.999Z')))).toBe('20260228')
    expect(nameOfDay(dayOf(Date.parse('2026-03-01T00:00:00.000Z')))).toBe('20260301')
    expect(nameOfDay(dayOf(Date.parse('2028-02-29T12:00:00.000Z')))).toBe('20280229')
    // Summer time moves nothing.
    expect(dayOf(Date.parse('2026-03-29T01:30:00+02:00'))).toBe(Date.parse('2026-03-28T00:00:00Z'))
  })
})
