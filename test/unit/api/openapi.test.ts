import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeApi } from '../../../src/api/openapi.ts'
import { namesOfItems, operationIdOf, pathTemplate } from '../../../src/api/openapi-names.ts'
import { SchemaBook } from '../../../src/api/openapi-schemas.ts'
import { type Route, routes } from '../../../src/api/routes.ts'
import { isObject } from '../../../src/domain/json.ts'

const item = z.object({ id: z.string(), createdAt: z.iso.datetime() })
const list = z.object({ data: z.array(item), nextCursor: z.string().nullable() })

const routeOf = (name: string, response: z.ZodType = item): Route => {
  const [method, path] = name.split(' ')
  return { method, path, response: { 200: response } } as unknown as Route
}

describe('operation ids', () => {
  it.each([
    ['POST /v1/webhooks', 'createWebhook'],
    ['GET /v1/webhooks/:id', 'getWebhook'],
    ['PATCH /v1/webhooks/:id', 'updateWebhook'],
    ['DELETE /v1/workspaces/:id/api-keys/:keyId', 'deleteApiKey'],
    ['POST /v1/wabas/:wabaId/flow-keys', 'createFlowKey'],
    ['POST /v1/wabas/:wabaId/flow-keys/:keyId/publish', 'publishFlowKey'],
    ['POST /v1/webhooks/:id/rotate-secret', 'rotateWebhookSecret'],
    ['POST /v1/webhooks/:id/close-breaker', 'closeWebhookBreaker'],
    ['POST /v1/deliveries/:id/redeliver', 'redeliverDelivery'],
    ['POST /v1/flows/sync', 'syncFlows'],
    ['POST /v1/flows/:id/messages', 'createMessage'],
    ['GET /v1/flows/:id/preview', 'getFlowPreview'],
    ['GET /v1/stats', 'getStats'],
  ])('of %s: %s', (name, operationId) => {
    expect(operationIdOf(routeOf(name))).toBe(operationId)
  })

  it('of a list', () => {
    expect(operationIdOf(routeOf('GET /v1/flow-responses', list))).toBe('listFlowResponses')
    expect(operationIdOf(routeOf('GET /v1/audit-log', list))).toBe('listAuditLog')
  })

  it('stand on paths as OpenAPI writes them', () => {
    expect(pathTemplate('/v1/workspaces/:id/api-keys/:keyId')).toBe('/v1/workspaces/{id}/api-keys/{keyId}')
  })
})

/** Where lists and dictionaries stand whose length nothing bounds: each item of a body of a mebibyte would be judged, and be a fault. */
function unboundedIn(schema: unknown, path: string): string[] {
  if (Array.isArray(schema)) return schema.flatMap((part, index) => unboundedIn(part, `${path}.${index}`))
  if (!isObject(schema)) return []
  const judgesMembers = isObject(schema.additionalProperties) && Object.keys(schema.additionalProperties).length > 0
  const isUnbounded =
    (schema.type === 'array' && schema.maxItems === undefined) || (judgesMembers && schema.maxProperties === undefined)
  const { example: _example, ...parts } = schema
  return [
    ...(isUnbounded ? [path] : []),
    ...Object.entries(parts).flatMap(([name, part]) => unboundedIn(part, `${path}.${name}`)),
  ]
}

it('every list and dictionary that a call may give has a bound', () => {
  const { paths } = describeApi(routes)
  const unbounded = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).flatMap(([method, operation]) => {
      const { requestBody, parameters } = operation as Record<string, unknown>
      return unboundedIn([requestBody, parameters], `${method} ${path}`)
    }),
  )
  expect(unbounded).toEqual([])
})

describe('schemas', () => {
  it('of what lists hold are named after the path, or as they say themselves', () => {
    const named = z.object({ id: z.string() }).meta({ id: 'TestEntry' })
    const names = namesOfItems([
      routeOf('GET /v1/deliveries', list),
      routeOf('GET /v1/test-log', z.object({ data: z.array(named), nextCursor: z.null() })),
    ])
    expect([...names]).toEqual([[item, 'Delivery']])
  })

  it('with a name become references, wherever they stand', () => {
    const book = new SchemaBook(new Map([[item, 'Delivery']]))
    const reference = { $ref: '#/components/schemas/Delivery' }
    expect(book.output(item)).toEqual(reference)
    expect(book.output(list)).toMatchObject({ properties: { data: { type: 'array', items: reference } } })
    expect(book.components()).toEqual({
      Delivery: {
        type: 'object',
        properties: { id: { type: 'string' }, createdAt: { type: 'string', format: 'date-time' } },
        required: ['id', 'createdAt'],
      },
    })
  })

  it('of input refuse unknown members and have defaults; those of output live with unknown ones', () => {
    const schema = z.strictObject({ limit: z.coerce.number().int().default(20), at: z.iso.datetime().optional() })
    const book = new SchemaBook(new Map())
    expect(book.input(schema)).toEqual({
      type: 'object',
      properties: { limit: { type: 'integer', default: 20 }, at: { type: 'string', format: 'date-time' } },
      additionalProperties: false,
    })
    expect(book.output(schema)).not.toHaveProperty('additionalProperties')
  })
})
