import { expect, it } from 'vitest'
import { DeliveryWorker, type DeliveryWorkerParts } from '../../../src/events/delivery-worker.ts'

it('asks for no room where nothing is to be held: under overload the queue would get none', () => {
  let asked = 0
  const room = () => {
    asked++
    return 4
  }
  const worker = new DeliveryWorker({
    room,
    isLong: () => false,
  } as Partial<DeliveryWorkerParts> as DeliveryWorkerParts)
  expect(worker.hold([]).ids.size).toBe(0)
  expect(asked).toBe(0)
})
