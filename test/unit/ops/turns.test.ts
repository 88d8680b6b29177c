import { expect, it } from 'vitest'
import { Turns } from '../../../src/ops/turns.ts'

/** Runs works that each last until it is told to end. */
function trial(atOnce: number) {
  const turns = new Turns(atOnce)
  const works: PromiseWithResolvers<number>[] = []
  const ended: Promise<number>[] = []
  const begun: number[] = []
  const add = (workspaceId: string) => {
    const at = works.length
    const work = Promise.withResolvers<number>()
    works.push(work)
    const run = () => {
      begun.push(at)
      return work.promise
    }
    ended.push(turns.run(workspaceId, run))
  }
  const end = async (at: number) => {
    works[at]?.resolve(at)
    await ended[at]
  }
  return { turns, works, ended, begun, add, end }
}

it('runs so many at once, the others in their order, whatever becomes of each', async () => {
  const { turns, works, ended, begun, add, end } = trial(2)
  for (const workspaceId of ['a', 'b', 'c', 'd', 'e']) add(workspaceId)
  await Promise.resolve()
  expect(begun).toEqual([0, 1])
  works[1]?.reject(new Error('fails'))
  await expect(ended[1]).rejects.toThrow('fails')
  await end(0)
  expect(await ended[0]).toBe(0)
  await end(2)
  expect(begun).toEqual([0, 1, 2, 3, 4])
  await Promise.all([3, 4].map(end))
  await turns.run('f', () => Promise.resolve(begun.push(5)))
  expect(begun).toEqual([0, 1, 2, 3, 4, 5])
})

it('runs one of each workspace, and workspaces in turn', async () => {
  const { begun, add, end } = trial(2)
  for (const workspaceId of ['a', 'a', 'a', 'b', 'b', 'b']) add(workspaceId)
  await Promise.resolve()
  expect(begun).toEqual([0, 3])
  add('c')
  await end(0)
  expect(begun).toEqual([0, 3, 1])
  await end(1)
  expect(begun).toEqual([0, 3, 1, 6])
  await end(6)
  expect(begun).toEqual([0, 3, 1, 6, 2])
  // What is left is of a workspace that has its turn.
  await end(2)
  add('d')
  expect(begun).toEqual([0, 3, 1, 6, 2, 7])
  await end(3)
  await end(4)
  expect(begun).toEqual([0, 3, 1, 6, 2, 7, 4, 5])
})
