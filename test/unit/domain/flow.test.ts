import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Flow, type FlowJsonFacts, flowJsonBounds, readFlowJson, tellFlow } from '../../../src/domain/flow.ts'
import { flow } from './samples.ts'

const factsOf = (flowJson: Record<string, unknown>): FlowJsonFacts => {
  const { facts, faults } = readFlowJson(flowJson)
  if (facts === null) throw new Error(JSON.stringify(faults))
  return facts
}
const read = (screens: string[], routing_model?: Record<string, string[]>) => {
  const listed = screens.map((id) => ({ id }))
  return factsOf({ version: '7.1', screens: listed, ...(routing_model && { routing_model }) })
}
const faultPaths = (flowJson: Record<string, unknown>) => {
  const { facts, faults } = readFlowJson(flowJson)
  expect(facts === null).toBe(faults.length > 0)
  return faults.map(({ path }) => path.join('.'))
}

describe('readFlowJson', () => {
  it('gives versions and screens', () => {
    const screens = [{ id: 'A', title: 'x', layout: {} }, { id: 'B' }]
    expect(factsOf({ version: '7.1', data_api_version: '3.0', screens })).toEqual({
      jsonVersion: '7.1',
      dataApiVersion: '3.0',
      screens: ['A', 'B'],
      firstScreen: 'A',
    })
    expect(read(['A']).dataApiVersion).toBeNull()
  })

  it('takes the screen that no other leads to for the first, wherever it is listed', () => {
    expect(read(['B', 'C', 'A'], { A: ['B'], B: ['C'], C: [] }).firstScreen).toBe('A')
  })

  it('lets a screen lead to itself', () => {
    expect(read(['B', 'A'], { A: ['A', 'B'], B: [] }).firstScreen).toBe('A')
  })

  it('takes the first listed of several entries, and where every screen is led to or there is no routing model', () => {
    expect(read(['X', 'A', 'B'], { A: ['X'] }).firstScreen).toBe('A')
    expect(read(['A', 'B'], { A: ['B'], B: ['A'] }).firstScreen).toBe('A')
    expect(read(['B', 'A']).firstScreen).toBe('B')
    expect(read(['B', 'A'], {}).firstScreen).toBe('B')
  })

  it('bears routes to and from screens that are not there', () => {
    expect(read(['A', 'B'], { GONE: ['A'], B: ['SUCCESS'] }).firstScreen).toBe('B')
  })

  it('always names a screen of the flow', () => {
    const name = fc.constantFrom('A', 'B', 'C', 'D', '__proto__', 'toString')
    const routes = fc.dictionary(name, fc.array(name))
    fc.assert(
      fc.property(fc.uniqueArray(name, { minLength: 1 }), routes, (screens, model) => {
        expect(screens).toContain(read(screens, model).firstScreen)
      }),
    )
  })

  const screens = [{ id: 'A' }]
  it.each([
    [{}, ['screens']],
    [{ version: '7.1' }, ['screens']],
    [{ version: '7.1', screens: [] }, ['screens']],
    [{ version: '7.1', screens: {} }, ['screens']],
    [
      { version: '7.1', screens: [{ id: '' }, null, { id: 'A' }, { id: 5 }] },
      ['screens.0.id', 'screens.1.id', 'screens.3.id'],
    ],
    [{ screens }, []],
    [{ version: 7, screens }, ['version']],
    [{ version: '7.1', data_api_version: null, screens }, ['data_api_version']],
    [{ version: '7.1', routing_model: [], screens }, ['routing_model']],
    [{ version: '7.1', routing_model: { A: 'B', B: [5], C: ['A'] }, screens }, ['routing_model.A', 'routing_model.B']],
  ])('refuses %j', (flowJson, paths) => {
    expect(faultPaths(flowJson)).toEqual(paths)
  })

  it('takes as much as its bounds say, and no more', () => {
    const { versionLength, screenIdLength, screens: mostScreens, routes: mostRoutes } = flowJsonBounds
    const names = (count: number) => Array.from({ length: count }, (_, index) => `S${index}`)
    const listed = (count: number) => names(count).map((id) => ({ id }))
    const version = 'x'.repeat(versionLength)
    const id = 'x'.repeat(screenIdLength)
    // One route for the list itself.
    const model = (count: number) => ({ A: names(count - 1) })
    expect(
      faultPaths({ version, data_api_version: version, screens: [{ id }], routing_model: model(mostRoutes) }),
    ).toEqual([])
    expect(faultPaths({ version, screens: listed(mostScreens) })).toEqual([])
    expect(faultPaths({ version: `${version}x`, screens })).toEqual(['version'])
    expect(faultPaths({ version, data_api_version: `${version}x`, screens })).toEqual(['data_api_version'])
    expect(faultPaths({ version, screens: listed(mostScreens + 1) })).toEqual(['screens'])
    expect(faultPaths({ version, screens: [{ id: `${id}x` }] })).toEqual(['screens.0.id'])
    expect(faultPaths({ version, screens, routing_model: model(mostRoutes + 1) })).toEqual(['routing_model'])
    const entries = Object.fromEntries(names(mostRoutes + 1).map((name) => [name, []]))
    expect(faultPaths({ version, screens, routing_model: entries })).toEqual(['routing_model'])
  })

  it('stops at one fault more than is told', () => {
    expect(faultPaths({ version: '7.1', screens: Array.from({ length: 500 }, () => ({})) })).toHaveLength(21)
  })
})

describe('tellFlow asks, in this order,', () => {
  const withScreens = (id: string, ...screens: string[]): Flow =>
    flow({ id, metaFlowId: `meta-${id}`, screens, firstScreen: screens[0] ?? null })
  const a = withScreens('a', 'START', 'FORM')
  const b = withScreens('b', 'START', 'OFFER')
  const offline = flow({
    id: 'offline',
    metaFlowId: 'meta-offline',
    screens: ['OFFLINE'],
    endpointUri: null,
    dataApiVersion: null,
  })
  const named = flow({ id: 'named', endpointUri: null, dataApiVersion: null, screens: null, firstScreen: null })
  const tell = (
    flows: readonly Flow[],
    metaFlowId: string | null,
    flowIdOfToken: string | null,
    screen: string | null,
  ) => tellFlow(flows, metaFlowId, flowIdOfToken, screen)?.id ?? null

  it('the URL', () => {
    expect(tell([a, b], 'meta-a', 'b', 'OFFER')).toBe('a')
    expect(tell([a, offline], 'meta-offline', 'a', 'FORM')).toBe('offline')
  })

  it("the token's flow response, also when the URL names a flow that is not known", () => {
    expect(tell([a, b], null, 'b', 'FORM')).toBe('b')
    expect(tell([a, b], 'meta-x', 'b', 'FORM')).toBe('b')
  })

  it('for the only flow with an endpoint, whatever the screen', () => {
    expect(tell([offline, a], null, null, 'ELSEWHERE')).toBe('a')
    expect(tell([a], null, 'gone', null)).toBe('a')
    expect(tell([a, named], null, null, 'ELSEWHERE')).toBe('a')
  })

  it('for the only one that has the screen', () => {
    expect(tell([a, b], null, null, 'OFFER')).toBe('b')
    expect(tell([a, b], null, null, 'START')).toBeNull()
    expect(tell([a, b], null, null, 'ELSEWHERE')).toBeNull()
    expect(tell([a, b], null, null, null)).toBeNull()
  })

  it('and never guesses another flow than the one the URL names', () => {
    expect(tell([a], 'meta-x', null, 'FORM')).toBeNull()
    expect(tell([], 'meta-x', null, null)).toBeNull()
  })

  it('for the only one that has the screen, whatever is known of its endpoint', () => {
    const local = { ...withScreens('local', 'WELCOME'), endpointUri: null, dataApiVersion: null }
    expect(tell([named, local], null, null, 'WELCOME')).toBe('local')
    expect(tell([offline, local], null, null, 'WELCOME')).toBe('local')
    expect(tell([a, b, local], null, null, 'WELCOME')).toBe('local')
    expect(tell([local, { ...local, id: 'twin' }], null, null, 'WELCOME')).toBeNull()
    // Of two that have it, the one that is known to be called.
    expect(tell([a, b, { ...local, screens: ['OFFER'] }], null, null, 'OFFER')).toBe('b')
  })

  it('where none is known to have an endpoint, for the only one there is, or of which only the name is known', () => {
    for (const screen of ['ELSEWHERE', 'OFFLINE', null]) {
      expect(tell([offline], null, null, screen)).toBe('offline')
      expect(tell([named], null, null, screen)).toBe('named')
    }
    expect(tell([offline, named], null, null, 'FORM')).toBe('named')
    expect(tell([named, { ...named, id: 'other' }], null, null, 'FORM')).toBeNull()
    expect(tell([offline, { ...offline, id: 'other' }], null, null, null)).toBeNull()
  })

  it('whatever their order', () => {
    const all = [a, b, withScreens('c', 'OTHER'), named, { ...named, id: 'named-too' }, offline]
    const screen = fc.constantFrom('START', 'FORM', 'OFFER', 'OFFLINE', null)
    fc.assert(
      fc.property(fc.shuffledSubarray(all), screen, (flows, shown) => {
        expect(tell(flows, null, null, shown)).toBe(tell(flows.toReversed(), null, null, shown))
      }),
    )
  })

  it('without looking through all screens at each exchange', () => {
    let reads = 0
    const counted = (one: Flow): Flow => ({
      ...one,
      get screens() {
        reads++
        return one.screens
      },
    })
    const flows = [a, b, offline].map(counted)
    tell(flows, null, null, 'FORM')
    const once = reads
    for (let time = 0; time < 100; time++) expect(tell(flows, null, null, 'FORM')).toBe('a')
    expect(reads).toBe(once)
    // A screen that a flow names twice is still its own.
    expect(tell([a, withScreens('twice', 'MORE', 'MORE')], null, null, 'MORE')).toBe('twice')
  })
})
