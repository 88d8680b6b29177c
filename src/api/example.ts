import { type IdKind, idPrefixes } from '../domain/ids.ts'

/**
 * Ids in the examples of operations: of the right form, and the same wherever the same thing is meant. A test that calls the examples
 * puts the ids of its own records in their place, which it learns from the answers of the operations that make them.
 */
export const exampleId = (kind: IdKind): string => `${idPrefixes[kind]}_06cvh7k2m9p4r1s8t3w6x5y0z2`
export const exampleWabaId = '100000000000001'
export const exampleExchangeId = '0196a0b0-5c00-7000-8000-0000000000e1'
export const exampleDeliveryId = '0196a0b0-5c00-7000-8000-0000000000d1'
export const exampleTime = '2026-05-06T18:59:00.000Z'
export const exampleTimes = { createdAt: exampleTime, updatedAt: exampleTime }

/** One page of a list with one item and no more. */
export const exampleList = <Item>(item: Item) => ({ data: [item], nextCursor: null })
