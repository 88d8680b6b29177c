import { expect, it } from 'vitest'
import { DeliveryWorker, type DeliveryWorkerParts } from '../../../src/events/delivery-worker.ts'
import { TakenAlarms } from '../../../src/events/taken-alarms.ts'

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

it('an attempt begins while its alarm is kept from others for long enough; one that rang again is kept for as long again', () => {
  let now = 0
  const taken = new TakenAlarms(() => now)
  const alarm = (deliveryId: string) => ({ deliveryId, workspaceId: 'ws_1', webhookId: 'wh_1' })
  const [early, late] = [alarm('early'), alarm('late')]
  expect([taken.add(early), taken.add(late)]).toEqual([true, true])
  now = 61_000
  expect(taken.ours()).toEqual([])
  expect(taken.add(early)).toBe(false)
  expect(taken.ours()).toEqual([early])
  expect([taken.begin(early), taken.begin(late)]).toEqual([true, false])
  // It was forgotten: taken again it is new.
  expect(taken.add(late)).toBe(true)
})
