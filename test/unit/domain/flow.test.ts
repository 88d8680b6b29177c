import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Flow, flowJsonSchema, readFlowJson, tellFlow } from '../../../src/domain/flow.ts'
import { flow } from './samples.ts'

const read = (screens: string[], routing_model?: Record<string, string[]>) => {
  const listed = screens.map((id) => ({ id }))
  return readFlowJson(
    flowJsonSchema.parse({ version: '7.1', screens: listed, ...(routing_model && { routing_model }) }),
  )
}

describe('readFlowJson', () => {
  it('gives versions and screens', () => {
    const screens = [{ id: 'A', title: 'x', layout: {} }, { id: 'B' }]
    expect(readFlowJson(flowJsonSchema.parse({ version: '7.1', data_api_version: '3.0', screens }))).toEqual({
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

  it.each([
    {},
    { version: '7.1' },
    { version: '7.1', screens: [] },
    { version: '7.1', screens: [{ id: '' }] },
    { version: 7, screens: [{ id: 'A' }] },
  ])('refuses %j', (flowJson) => {
    expect(flowJsonSchema.safeParse(flowJson).success).toBe(false)
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
    expect(tell([offline], null, null, 'OFFLINE')).toBeNull()
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

  it('taking a flow of which only the name is known for one that may have an endpoint', () => {
    const named = flow({ id: 'named', endpointUri: null, dataApiVersion: null, screens: null, firstScreen: null })
    expect(tell([named], null, null, 'FORM')).toBe('named')
    expect(tell([named, a], null, null, 'FORM')).toBe('a')
    expect(tell([named, a], null, null, 'OFFER')).toBeNull()
  })
})
