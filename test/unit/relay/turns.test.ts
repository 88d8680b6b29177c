import { expect, it } from 'vitest'
import { Turns } from '../../../src/relay/turns.ts'

it('runs so many at once, the others in their order, whatever becomes of each', async () => {
  const turns = new Turns(2)
  const works = Array.from({ length: 5 }, () => Promise.withResolvers<number>())
  const begun: number[] = []
  const run = async (index: number) => {
    begun.push(index)
    return await works[index]?.promise
  }
  const ended = works.map((_, index) => turns.run(() => run(index)))
  const endOf = (index: number) => ended[index]?.catch(() => undefined)
  await Promise.resolve()
  expect(begun).toEqual([0, 1])
  works[1]?.reject(new Error('fails'))
  await expect(ended[1]).rejects.toThrow('fails')
  works[0]?.resolve(7)
  expect(await ended[0]).toBe(7)
  works[2]?.resolve(0)
  await endOf(2)
  expect(begun).toEqual([0, 1, 2, 3, 4])
  for (const work of works) work.resolve(0)
  await Promise.all([3, 4].map(endOf))
  await turns.run(() => Promise.resolve(begun.push(5)))
  expect(begun).toEqual([0, 1, 2, 3, 4, 5])
})
