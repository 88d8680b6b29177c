import { describe, expect, it } from 'vitest'
import { buildEnvelope } from '../../../src/domain/envelope.ts'
import { listEventTypes } from '../../../src/domain/event-catalogue.ts'
import { sampleOf } from '../../../src/domain/event-samples.ts'
import { eventSchemas } from '../../../src/domain/event-schemas.ts'
import { isExchangeEvent, resourceTypeOf, subscribableEvents, umbrellaEvent } from '../../../src/domain/events.ts'
import { classifyAction } from '../../../src/domain/exchange.ts'
import { parts } from './samples.ts'

const eventTypes = listEventTypes()
const table = eventTypes.map((eventType) => [eventType.event, eventType] as const)

it('holds every event that can be subscribed to, once, in their order', () => {
  expect(eventTypes.map(({ event }) => event)).toEqual([...subscribableEvents])
})

describe.each(table)('%s', (event, { schema, example, description, answerAwaited }) => {
  it('has an example that fits its schema, and a schema that names all of the example', () => {
    // What a schema does not name is dropped, so nothing is left unnamed where nothing changes.
    expect(eventSchemas[event].parse(example)).toEqual(example)
  })

  it('has an example of contract.md §4: members in their order', () => {
    const order = ['id', 'event', 'workspaceId', 'timestamp', 'source', 'resourceType', 'resourceId', 'changes', 'data']
    expect(Object.keys(example)).toEqual(order)
    expect(Object.keys(example.data as object).slice(0, 4)).toEqual(['client', 'conversation', 'flow', 'flowResponse'])
    expect(example.event).toBe(event === umbrellaEvent ? 'whatsapp.flows.init' : event)
  })

  it('has a schema as JSON Schema that lets members of coming releases pass', () => {
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema')
    expect(JSON.stringify(schema)).not.toContain('"additionalProperties":false')
    expect(JSON.stringify(schema)).toContain('flowResponse')
  })

  it('says what it is and whether its answer is awaited', () => {
    expect(description).toMatch(/^[A-Z].*\.$/)
    expect(answerAwaited).toBe(['init', 'screen_advance', 'back', 'exchanges'].includes(event.split('.')[2] ?? ''))
  })
})

describe('samples', () => {
  const stamp = { id: parts.id, workspaceId: parts.workspaceId, now: parts.now }
  const sent = subscribableEvents.filter((event) => event !== umbrellaEvent)

  it.each(sent)('%s carries the id, workspace and time it is given', (event) => {
    const { envelope, resourceId } = sampleOf(event, stamp)
    const read = JSON.parse(envelope)
    expect(read).toMatchObject({ id: parts.id, event, workspaceId: parts.workspaceId, resourceId })
    expect(read.timestamp).toBe(parts.now.toISOString())
    expect(read.resourceType).toBe(resourceTypeOf(event))
    if (read.data.conversation) expect(read.data.conversation.workspaceId).toBe(parts.workspaceId)
  })

  it.each(sent)('%s comes plain as Meta sends it, where Meta sends it', (event) => {
    const { plain, envelope } = sampleOf(event, stamp)
    const isMetas = isExchangeEvent(event) || event === 'whatsapp.flows.error'
    expect(plain !== null).toBe(isMetas)
    if (plain === null) return
    const request = classifyAction(JSON.parse(plain))
    expect(request.kind).toBe(isExchangeEvent(event) ? 'exchange' : 'error_notification')
    if (request.kind !== 'exchange') return
    const { data, resourceId } = JSON.parse(envelope)
    const { action, screen, version, payload } = data.flowExchange
    expect(request).toMatchObject({ action, screen, version, payload, flowToken: resourceId })
  })
})

describe('the schemas of exchanges fit what is really sent', () => {
  const schema = eventSchemas[umbrellaEvent]
  const none = { client: null, conversation: null, flowResponse: null }
  it.each([
    ['with all records', parts],
    ['without records', { ...parts, records: none }],
    ['without flow', { ...parts, flow: null }],
    ['without a token', { ...parts, records: none, request: { ...parts.request, flowToken: null } }],
    ['for a shared token', { ...parts, records: none, request: { ...parts.request, flowToken: 'unused' } }],
    ['INIT', { ...parts, request: { ...parts.request, action: 'init' as const, screen: null, version: null } }],
  ])('%s', (_name, given) => {
    const envelope = JSON.parse(buildEnvelope(given))
    expect(schema.parse(envelope)).toEqual(envelope)
  })
})
