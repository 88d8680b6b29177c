import { afterAll, afterEach, beforeAll } from 'vitest'
import type { Graph } from '../../../src/graph/client.ts'
import { type FakeGraph, startGraph } from '../../support/graph.ts'
import { connectGraph } from '../../support/graph-client.ts'

export const accessToken = 'EAAtoken-7d1c'
export const wabaId = '10'

interface GraphUnderTest {
  fake: FakeGraph
  graph: Graph
}

/** A client and a strict fake with one WABA for a file's tests; each test fails for what Graph would not have taken. */
export function graphUnderTest(): GraphUnderTest {
  const parts = {} as GraphUnderTest
  beforeAll(async () => {
    parts.fake = await startGraph()
    parts.fake.model.addWaba(wabaId, accessToken)
    parts.graph = connectGraph(parts.fake.url)
  })
  afterEach(() => parts.fake.assertNoSurprises())
  afterAll(async () => {
    await parts.graph.close()
    await parts.fake.close()
  })
  return parts
}
