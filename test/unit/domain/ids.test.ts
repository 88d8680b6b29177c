import { describe, expect, it } from 'vitest'
import { type IdKind, idPattern, idPrefixes, newId, newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'

const many = 10_000
const isSorted = (list: readonly string[]) => list.every((id, index) => index === 0 || (list[index - 1] ?? '') < id)

describe('a UUIDv7 (RFC 9562)', () => {
  it('has version 7 and variant 10, and is in canonical form', () => {
    for (let n = 0; n < 1000; n++) {
      expect(newUuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    }
  })

  it('sorts in the order made, within a millisecond and over many, and never repeats', () => {
    const uuids = Array.from({ length: many }, () => newUuid())
    expect(isSorted(uuids)).toBe(true)
    expect(new Set(uuids).size).toBe(many)
  })

  it('holds its time, and goes on in order when the clock steps back', () => {
    const later = Date.UTC(2040, 0, 1)
    const uuid = newUuid(later)
    expect(Number.parseInt(uuid.replaceAll('-', '').slice(0, 12), 16)).toBe(later)
    expect(isSorted([uuid, newUuid(later), newUuid(later - 1000), newUuid(later + 1)])).toBe(true)
  })

  it('does not foretell the next: 62 bits of each are drawn anew', () => {
    const tails = Array.from({ length: 1000 }, () => newUuid().slice(-12))
    expect(new Set(tails).size).toBe(1000)
  })
})

describe('a prefixed id', () => {
  const kinds = Object.keys(idPrefixes) as IdKind[]

  it.each(kinds)('of a %s fits the pattern of its kind and of no other', (kind) => {
    const id = newId(kind)
    expect(kinds.filter((other) => idPattern(other).test(id))).toEqual([kind])
    expect(id).toMatch(/^[a-z]+_[0-9a-hjkmnp-tv-z]{26}$/)
  })

  it('has the prefix the contract shows', () => {
    expect(newWorkspaceId()).toMatch(/^ws_/)
    expect(newId('webhook')).toMatch(/^wh_/)
    expect(newId('flowResponse')).toMatch(/^fr_/)
    expect(new Set(Object.values(idPrefixes)).size).toBe(kinds.length)
  })

  it('sorts in the order made', () => {
    expect(isSorted(Array.from({ length: many }, () => newId('client')))).toBe(true)
  })

  it.each([
    '',
    'wh_',
    'wh_0',
    `wh_${'0'.repeat(25)}`,
    `wh_${'0'.repeat(27)}`,
    `wh_${'u'.repeat(26)}`,
    `WH_${'0'.repeat(26)}`,
    ` wh_${'0'.repeat(26)}`,
    `wh_${'0'.repeat(26)}\n`,
  ])('is not %j', (text) => {
    expect(idPattern('webhook').test(text)).toBe(false)
  })
})
