import fc from 'fast-check'
import { hostileText } from './hostile-json.ts'
import { isObject } from './world.ts'

// biome-ignore lint/suspicious/noExplicitAny: a JSON document
export type Json = any

/** The values that a JSON Schema of the OpenAPI document takes, its bounds more often than what lies between. */
export function valuesOf(schema: Json): fc.Arbitrary<unknown> {
  const branches = schema.anyOf ?? schema.oneOf
  if (branches !== undefined) return fc.oneof(...branches.map(valuesOf))
  if (schema.const !== undefined) return fc.constant(schema.const)
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum)
  switch (schema.type) {
    case 'string':
      return textsOf(schema)
    case 'integer':
    case 'number':
      return numbersOf(schema)
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 4, 4),
      })
    case 'object':
      return objectsOf(schema)
    default:
      return fc.jsonValue({ maxDepth: 3 })
  }
}

function textsOf({ pattern, format, minLength = 0, maxLength = 60 }: Json): fc.Arbitrary<string> {
  if (format === 'date-time') {
    return fc
      .date({ min: new Date(0), max: new Date('9998-12-31'), noInvalidDate: true })
      .map((date) => date.toISOString())
  }
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern), { maxLength: 60 })
  const atBound = fc.constant('é'.repeat(maxLength))
  const short = fc.string({
    unit: fc.constantFrom('a', 'Z', '0', ' ', '/', '<', 'é', '中', '🎉'),
    minLength,
    maxLength: Math.max(minLength, Math.min(maxLength, 40)),
  })
  return fc.oneof({ weight: 6, arbitrary: short }, { weight: 2, arbitrary: hostileText(20) }, atBound)
}

function numbersOf({ minimum, maximum, exclusiveMinimum }: Json): fc.Arbitrary<number> {
  const min = Math.max(minimum ?? exclusiveMinimum ?? -(2 ** 31), -Number.MAX_SAFE_INTEGER)
  const max = Math.min(maximum ?? 2 ** 53 - 1, Number.MAX_SAFE_INTEGER)
  return fc.oneof(fc.integer({ min, max }), fc.constantFrom(min, max))
}

function objectsOf({ properties = {}, required = [], additionalProperties }: Json): fc.Arbitrary<unknown> {
  const named = Object.fromEntries(Object.entries(properties).map(([name, member]) => [name, valuesOf(member)]))
  const known = fc.record(named, { requiredKeys: required })
  if (!isObject(additionalProperties)) return known
  const more = fc.dictionary(fc.string({ maxLength: 20 }), valuesOf(additionalProperties), {
    maxKeys: 4,
  })
  return fc.tuple(known, more).map(([one, other]) => ({ ...other, ...one }))
}

/** An operation of the document, with all that it refers to in its place. */
export interface Operation {
  readonly method: string
  readonly template: string
  readonly isOperators: boolean
  readonly parameters: readonly {
    readonly name: string
    readonly in: 'path' | 'query' | 'header'
    readonly schema: Json
    readonly example?: Json
  }[]
  readonly body: { readonly schema: Json; readonly example: Json } | null
  /** By status; the codes of a problem, or null for an answer that is none. */
  readonly answers: ReadonlyMap<number, readonly string[] | null>
}

export function operationsOf(document: Json): Operation[] {
  const resolve = (node: Json): Json => {
    if (Array.isArray(node)) return node.map(resolve)
    if (!isObject(node)) return node
    const { $ref } = node
    if (typeof $ref !== 'string')
      return Object.fromEntries(Object.entries(node).map(([name, member]) => [name, resolve(member)]))
    return resolve(
      $ref
        .split('/')
        .slice(1)
        .reduce((at, name) => at[name], document),
    )
  }
  return Object.entries<Json>(document.paths).flatMap(([template, methods]) =>
    Object.entries<Json>(methods).map(([method, operation]): Operation => {
      const body = resolve(operation.requestBody?.content['application/json'] ?? null)
      return {
        method: method.toUpperCase(),
        template,
        isOperators: operation.security.every((one: Json) => 'operator' in one),
        parameters: resolve(operation.parameters),
        body: body && { schema: body.schema, example: body.example ?? {} },
        answers: new Map(
          Object.entries<Json>(operation.responses).map(([status, response]) => [Number(status), codesOf(response)]),
        ),
      }
    }),
  )
}

/** Problems of the same codes are one component, named by them. */
function codesOf({ $ref }: Json): string[] | null {
  return $ref === undefined ? null : $ref.split('/').at(-1).split('.')
}
