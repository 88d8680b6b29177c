import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { FlowKeyMaker, mostMakes } from '../../../src/api/flow-key-maker.ts'

const { privateKey: flowKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

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
  expect((await new FlowKeyMaker().make()).asymmetricKeyDetails?.modulusLength).toBe(2048)
})

it('makes one after the other, also after one that failed', async () => {
  const { maker, begun } = heldMaker()
  const [first, second] = [maker.make(), maker.make()]
  const failed = expect(first).rejects.toThrow('on purpose')
  await setImmediate()
  expect(begun).toHaveLength(1)
  begun[0]?.reject(new Error('on purpose'))
  await failed
  await expect.poll(() => begun.length).toBe(2)
  begun[1]?.resolve(flowKey)
  expect(await second).toBe(flowKey)
})

it('refuses one more than may wait, until one is made', async () => {
  const { maker, begun } = heldMaker()
  const made = Array.from({ length: mostMakes }, () => maker.make())
  await expect(maker.make()).rejects.toMatchObject({ code: 'rate_limited' })
  await expect.poll(() => begun.length).toBe(1)
  begun[0]?.resolve(flowKey)
  await made[0]
  made.push(maker.make())
  for (let n = 1; n < made.length; n++) {
    await expect.poll(() => begun.length, { interval: 1 }).toBe(n + 1)
    begun[n]?.resolve(flowKey)
    expect(await made[n]).toBe(flowKey)
  }
})
