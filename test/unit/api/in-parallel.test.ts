import { expect, test } from 'vitest'
import { inParallel } from '../../../src/api/in-parallel.ts'

/** Work that ends when it is told to, and tells what was begun. */
function controlled() {
  const begun: number[] = []
  const ends = new Map<number, PromiseWithResolvers<string>>()
  const work = (item: number) => {
    begun.push(item)
    const end = Promise.withResolvers<string>()
    ends.set(item, end)
    return end.promise
  }
  return { begun, work, end: (item: number) => ends.get(item) }
}
const turn = () => new Promise(setImmediate)

test('keeps to its width and to the order of the items', async () => {
  const { begun, work, end } = controlled()
  const results = inParallel([1, 2, 3, 4], 2, work)
  await turn()
  expect(begun).toEqual([1, 2])
  end(2)?.resolve('two')
  await turn()
  expect(begun).toEqual([1, 2, 3])
  end(3)?.resolve('three')
  await turn()
  end(4)?.resolve('four')
  end(1)?.resolve('one')
  expect(await results).toEqual(['one', 'two', 'three', 'four'])
})

test('begins nothing after one failed', async () => {
  const { begun, work, end } = controlled()
  const results = inParallel([1, 2, 3, 4], 2, work)
  await turn()
  end(1)?.reject(new Error('no'))
  await expect(results).rejects.toThrow('no')
  end(2)?.resolve('two')
  await turn()
  expect(begun).toEqual([1, 2])
})

test('of nothing is nothing', async () => {
  expect(await inParallel([], 4, async () => 1)).toEqual([])
})
