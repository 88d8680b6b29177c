import { expect, it } from 'vitest'
import { PacedLines } from '../../../src/ops/paced-lines.ts'

it('has room for 20 lines in 10 s, and has the next one say how many had none', () => {
  let now = 0
  const lines = new PacedLines(() => now)
  const take = (count: number) => Array.from({ length: count }, () => lines.take())
  expect(take(20)).toEqual(Array(20).fill({}))
  expect(take(30)).toEqual(Array(30).fill(null))
  now = 9999
  expect(lines.take()).toBeNull()
  now = 10_000
  expect(take(2)).toEqual([{ untold: 31 }, {}])
})
