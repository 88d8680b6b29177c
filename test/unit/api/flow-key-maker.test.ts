import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { expect, it } from 'vitest'
import { FlowKeyMaker, mostMakesOfWorkspace } from '../../../src/api/flow-key-maker.ts'
import { ApiError } from '../../../src/domain/errors.ts'
import { newWorkspaceId } from '../../../src/domain/ids.ts'

const { privateKey: flowKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

const [greedy, other] = [newWorkspaceId(), newWorkspaceId()]
const room = async () => {}

/** A maker, and what it waits for: one for each key that it began to make. */
function heldMaker() {
  const begun: PromiseWithResolvers<KeyObject>[] = []
  const maker = new FlowKeyMaker(() => {
    const held = Promise.withResolvers<KeyObject>()
    begun.push(held)
    return held.promise
  })
  return { maker, begun }
}

it('makes an RSA-2048 key', async () => {
  expect((await new FlowKeyMaker().make(other, room)).asymmetricKeyDetails?.modulusLength).toBe(2048)
})

it('makes one after the other, also after one that failed', async () => {
  const { maker, begun } = heldMaker()
  const [first, second] = [maker.make(greedy, room), maker.make(other, room)]
  const failed = expect(first).rejects.toThrow('on purpose')
  await expect.poll(() => begun.length).toBe(1)
  begun[0]?.reject(new Error('on purpose'))
  await failed
  await expect.poll(() => begun.length).toBe(2)
  begun[1]?.resolve(flowKey)
  expect(await second).toBe(flowKey)
})

it('refuses one more than may wait of one workspace, until one is made; others have their turn between', async () => {
  const { maker, begun } = heldMaker()
  const makeNext = async (at: number) => {
    await expect.poll(() => begun.length, { interval: 1 }).toBeGreaterThan(at)
    begun[at]?.resolve(flowKey)
  }
  const made = Array.from({ length: mostMakesOfWorkspace }, () => maker.make(greedy, room))
  await expect.poll(() => begun.length).toBe(1)
  await expect(maker.make(greedy, room)).rejects.toMatchObject({ code: 'rate_limited' })
  const others = maker.make(other, room)
  for (let at = 0; at < 3; at++) await makeNext(at)
  expect(await others).toBe(flowKey)
  made.push(maker.make(greedy, room))
  for (let at = 3; at <= made.length; at++) await makeNext(at)
  expect(await Promise.all(made)).toHaveLength(mostMakesOfWorkspace + 1)
})

it('makes none where the room was taken while it waited', async () => {
  const { maker, begun } = heldMaker()
  let isFull = false
  const requireRoom = async () => {
    if (isFull) throw new ApiError('limit_reached', 'on purpose')
  }
  const made = maker.make(greedy, requireRoom)
  const late = expect(maker.make(greedy, requireRoom)).rejects.toMatchObject({ code: 'limit_reached' })
  await expect.poll(() => begun.length).toBe(1)
  isFull = true
  begun[0]?.resolve(flowKey)
  await made
  await late
  expect(begun).toHaveLength(1)
})
