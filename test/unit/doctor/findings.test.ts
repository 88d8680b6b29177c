import { describe, expect, it } from 'vitest'
import { checkClock } from '../../../src/doctor/clock.ts'
import { findingsOf, lineOf, summed, verdictOf } from '../../../src/doctor/finding.ts'

describe('clocks', () => {
  const seen = (seconds: number) => [
    { of: 'the relay', theirs: 1_000_000, ours: 1_000_000 },
    { of: 'the database', theirs: 1_000_000 + seconds * 1000, ours: 1_000_000 },
  ]

  it.each([
    [0.4, 'ok', 'agree within 1 s'],
    [-4.9, 'ok', 'agree within 5 s'],
    [6, 'warn', 'the database is 6.0 s ahead of this machine'],
    [-300, 'fail', 'the database is 300.0 s behind this machine'],
  ])('that are %s s apart: %s', (seconds, level, message) => {
    const finding = checkClock(seen(seconds))
    expect(finding).toMatchObject({ check: 'clock', level })
    expect(finding.message).toContain(message)
  })

  it('that nobody told', () => expect(checkClock([])).toMatchObject({ level: 'warn' }))
})

describe('findings', () => {
  const { ok, warn, fail } = findingsOf('ping')

  it('are as bad as the worst of them', () => {
    expect(verdictOf([ok('a')])).toBe('ok')
    expect(verdictOf([ok('a'), warn('b', 'c')])).toBe('warn')
    expect(verdictOf([fail('a', 'b'), warn('b', 'c')])).toBe('fail')
  })

  it('are a line each, with what to do', () => {
    expect(lineOf(ok('well'))).toBe('ok    ping         well')
    expect(lineOf(fail('bad', 'mend it'))).toBe('fail  ping         bad: mend it')
  })

  it('about thousands are some lines, and none is lost', () => {
    const many = [...Array(30).fill(warn('slow', 'look')), fail('dead', 'look'), ...Array(2000).fill(ok('well'))]
    const lines = summed(many, (count) => ok(`${count} are well`))
    expect(lines).toHaveLength(22)
    expect(lines.at(-2)).toMatchObject({ level: 'fail', message: '11 more like these' })
    expect(lines.at(-1)?.message).toBe('2000 are well')
  })
})
