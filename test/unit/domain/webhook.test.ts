import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { subscribableEvents } from '../../../src/domain/events.ts'
import {
  chooseWebhook,
  dataOf,
  fallbackSchema,
  isReplyObject,
  readAnswer,
  screenOf,
  type WebhookSubscription,
} from '../../../src/domain/webhook.ts'

const init = 'whatsapp.flows.init'
const umbrella = 'whatsapp.flows.exchanges'

function webhook(id: string, more: Partial<WebhookSubscription> = {}): WebhookSubscription {
  return { id, active: true, events: [init], flowIds: null, createdAt: new Date(1000), ...more }
}

const chosen = (webhooks: readonly WebhookSubscription[], flowId: string | null = 'flow_1') => {
  const { responder, observers } = chooseWebhook(webhooks, init, flowId)
  return [responder?.id ?? null, ...observers.map(({ id }) => id)]
}

describe('candidates', () => {
  it.each([
    ['the granular event', webhook('a'), true],
    ['the umbrella', webhook('a', { events: [umbrella] }), true],
    ['another event', webhook('a', { events: ['whatsapp.flows.back', 'whatsapp.flows.fallback'] }), false],
    ['no event', webhook('a', { events: [] }), false],
    ['the event, but not active', webhook('a', { active: false }), false],
    ['this flow', webhook('a', { flowIds: ['flow_2', 'flow_1'] }), true],
    ['another flow', webhook('a', { flowIds: ['flow_2'] }), false],
    ['no flow', webhook('a', { flowIds: [] }), false],
  ])('a webhook for %s', (_name, candidate, isOne) => {
    expect(chosen([candidate])).toEqual([isOne ? 'a' : null])
  })

  it('where the flow cannot be told, only those for every flow', () => {
    expect(chosen([webhook('a', { flowIds: ['flow_1'] }), webhook('b')], null)).toEqual(['b'])
  })

  it('none: nobody answers', () => {
    expect(chooseWebhook([], init, 'flow_1')).toEqual({ responder: null, observers: [] })
  })
})

describe('the order', () => {
  const older = { createdAt: new Date(1) }
  const flowIds = ['flow_1']

  it('is: with flowIds first, then granular before umbrella, then age', () => {
    const inOrder = [
      webhook('1', { flowIds, ...older }),
      webhook('2', { flowIds }),
      webhook('3', { flowIds, events: [umbrella], ...older }),
      webhook('4', { flowIds, events: [umbrella] }),
      webhook('5', { ...older }),
      webhook('6'),
      webhook('7', { events: [umbrella], ...older }),
      webhook('8', { events: [umbrella] }),
    ]
    fc.assert(
      fc.property(fc.shuffledSubarray(inOrder, { minLength: inOrder.length }), (shuffled) => {
        expect(chosen(shuffled)).toEqual(inOrder.map(({ id }) => id))
      }),
    )
  })

  it('counts a webhook that takes both the granular event and the umbrella as granular', () => {
    const both = webhook('both', { events: [umbrella, init], createdAt: new Date(2000) })
    expect(chosen([webhook('umbrella', { events: [umbrella] }), both])).toEqual(['both', 'umbrella'])
  })

  it('of two made at the same instant is that of their ids', () => {
    expect(chosen([webhook('wh_b'), webhook('wh_a')])).toEqual(['wh_a', 'wh_b'])
  })
})

describe('chooseWebhook', () => {
  const anyWebhook = fc.record({
    active: fc.boolean(),
    events: fc.subarray([...subscribableEvents]),
    flowIds: fc.option(fc.subarray(['flow_1', 'flow_2'])),
    createdAt: fc.nat(3).map((ms) => new Date(ms)),
  })
  const event = fc.constantFrom(init, 'whatsapp.flows.screen_advance', 'whatsapp.flows.back')
  const flowId = fc.option(fc.constantFrom('flow_1', 'flow_3'))

  it('gives out exactly the candidates, each once, in an order that does not depend on the one given', () => {
    fc.assert(
      fc.property(fc.array(anyWebhook, { maxLength: 12 }), event, flowId, (list, name, flow) => {
        const webhooks = Object.freeze(list.map((more, index) => ({ ...more, id: `wh_${index}` })))
        const { responder, observers } = chooseWebhook(webhooks, name, flow)
        const given = responder === null ? [] : [responder, ...observers]
        if (responder === null) expect(observers).toEqual([])
        const candidates = webhooks.filter(
          ({ active, events, flowIds }) =>
            active &&
            (events.includes(name) || events.includes(umbrella)) &&
            (flowIds === null || flowIds.some((id) => id === flow)),
        )
        expect(new Set(given)).toEqual(new Set(candidates))
        expect(given).toHaveLength(candidates.length)
        expect(chooseWebhook(webhooks.toReversed(), name, flow)).toEqual({ responder, observers })
      }),
    )
  })
})

describe('a reply', () => {
  it.each([
    [{ data: {} }, true],
    [{ data: { a: 1 }, screen: 5 }, true],
    [{ screen: 'A' }, true],
    [{ screen: 'A', data: [] }, true],
    [{ screen: '' }, false],
    [{ screen: null, data: null }, false],
    [{ data: [] }, false],
    [{ data: 'x' }, false],
    [{}, false],
  ])('%j counts: %s', (body, counts) => {
    expect(isReplyObject(body)).toBe(counts)
  })

  it('gives its screen and data, or null where they do not count', () => {
    expect([screenOf({ screen: 'A' }), screenOf({ screen: '' }), screenOf({ screen: 1 }), screenOf({})]).toEqual([
      'A',
      null,
      null,
      null,
    ])
    expect([dataOf({ data: { a: 1 } }), dataOf({ data: [1] }), dataOf({ data: null }), dataOf({})]).toEqual([
      { a: 1 },
      null,
      null,
      null,
    ])
    expect(readAnswer('{"screen":"A","data":{"a":1}}')).toEqual({ screen: 'A', data: { a: 1 } })
    expect(readAnswer('{"error_msg":"x"}')).toEqual({ screen: null, data: null })
    expect([readAnswer('[]'), readAnswer('')]).toEqual([null, null])
  })
})

describe('the fallback a webhook may choose', () => {
  it.each([
    { mode: 'acknowledged' },
    { mode: 'stay', errorMessage: 'Please try again' },
    { mode: 'static', reply: { screen: 'SORRY' } },
    { mode: 'static', reply: { data: {}, version: '3.0' } },
    { mode: 'last_good' },
  ])('%j', (fallback) => {
    expect(fallbackSchema.parse(fallback)).toEqual(fallback)
  })

  it.each([
    {},
    { mode: 'other' },
    { mode: 'acknowledged', reply: {} },
    { mode: 'stay' },
    { mode: 'stay', errorMessage: '' },
    { mode: 'static' },
    { mode: 'static', reply: {} },
    { mode: 'static', reply: { screen: '', data: [] } },
    { mode: 'static', reply: [] },
    null,
  ])('but not %j', (fallback) => {
    expect(fallbackSchema.safeParse(fallback).success).toBe(false)
  })
})
