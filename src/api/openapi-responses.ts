import { z } from 'zod'
import { ApiError, type ApiErrorCode, apiErrorCodes } from '../domain/errors.ts'
import { replayedHeader } from './idempotency.ts'
import type { JsonSchema, SchemaBook } from './openapi-schemas.ts'
import type { Example } from './operation.ts'
import { mostFaults, problemAnswer, problemType } from './problem.ts'
import type { Route } from './routes.ts'

const problemBody = z
  .looseObject({
    type: z.string().describe('`urn:relevo:problem:` and the code'),
    title: z.string().describe('the same for every problem of this code'),
    status: z.int(),
    detail: z.string().describe('what was wrong with this call, without any values of it'),
    code: z
      .enum(Object.keys(apiErrorCodes) as [ApiErrorCode])
      .describe('what programs tell problems apart by; never renamed'),
    errors: z
      .array(z.object({ path: z.string().describe('dotted; empty for the whole body'), message: z.string() }))
      .optional()
      .describe(`bad input, member by member: the first ${mostFaults}`),
  })
  .describe('Problem details (RFC 9457).')
  .meta({ id: 'Problem' })

/** Every code that an operation can answer with. */
export function errorCodesOf(route: Route): ApiErrorCode[] {
  const codes: ApiErrorCode[] = ['invalid_input', 'unauthorized', 'forbidden', 'rate_limited', 'internal_error']
  codes.push('database_unavailable', ...route.errors)
  if (route.tenancy === 'workspace' || route.path.includes(':')) codes.push('not_found')
  if (route.method === 'POST') codes.push('idempotency_in_progress', 'idempotency_mismatch')
  if (route.method !== 'GET') codes.push('body_too_large', 'unsupported_media_type')
  return [...new Set(codes)].sort((a, b) => statusOf(a) - statusOf(b))
}

const statusOf = (code: ApiErrorCode): number => apiErrorCodes[code][0]
// Graph's passing refusals: the code is that of the refusal, the status says to try again.
const alsoAnsweredWith: Partial<Record<ApiErrorCode, number>> = { graph_error: 502 }

interface ResponseObject {
  readonly description: string
  readonly headers?: Readonly<Record<string, unknown>>
  readonly content?: Readonly<Record<string, unknown>>
}

/** Responses, the same ones of several operations once. */
export class ResponseBook {
  readonly #schemas: SchemaBook
  readonly #components: Record<string, ResponseObject> = {}

  constructor(schemas: SchemaBook) {
    this.#schemas = schemas
  }

  components(): Record<string, ResponseObject> {
    return Object.fromEntries(Object.entries(this.#components).sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  of(route: Route): Record<string, JsonSchema> {
    const codes = errorCodesOf(route)
    const pairs = codes.flatMap((code) =>
      [statusOf(code), alsoAnsweredWith[code] ?? []].flat().map((status) => ({ status, code })),
    )
    const byStatus = Map.groupBy(pairs, ({ status }) => status)
    const problems = [...byStatus].map(([status, ofStatus]) => [
      String(status),
      this.#problem(
        status,
        ofStatus.map(({ code }) => code),
      ),
    ])
    const answers = Object.entries(route.response).map(([status, schema]) => [
      status,
      this.#answer(route, Number(status), schema),
    ])
    return Object.fromEntries([...answers, ...problems])
  }

  #answer(route: Route, status: number, schema: z.ZodType): ResponseObject {
    const headers = { ...rateLimitHeaders, ...(route.method === 'POST' ? replayHeaders : {}) }
    const description = descriptions[status] ?? 'Done.'
    if (status === 204) return { description, headers }
    const { answer }: Example = route.example
    const example = answer.status === status ? { example: answer.body } : {}
    return {
      description,
      headers,
      content: { 'application/json': { schema: this.#schemas.output(schema), ...example } },
    }
  }

  #problem(status: number, codes: readonly ApiErrorCode[]): JsonSchema {
    const name = codes.join('.')
    this.#components[name] ??= {
      description: codes.map((code) => `\`${code}\`: ${apiErrorCodes[code][1]}.`).join(' '),
      headers: headersOf(status),
      content: { [problemType]: { schema: this.#schemas.output(problemBody), examples: examplesOf(status, codes) } },
    }
    return { $ref: `#/components/responses/${name}` }
  }
}

const descriptions: Readonly<Record<number, string>> = {
  200: 'Done.',
  201: 'Made.',
  204: 'Done. There is nothing to say.',
}

function examplesOf(status: number, codes: readonly ApiErrorCode[]): Record<string, unknown> {
  const exampleOf = (code: ApiErrorCode) => {
    const faults = code === 'invalid_input' ? [{ path: 'name', message: 'is not known here' }] : []
    const error = new ApiError(code, exampleDetails[code] ?? 'what was wrong with this call', faults, { status })
    return { value: JSON.parse(problemAnswer(error).json ?? '') }
  }
  return Object.fromEntries(codes.map((code) => [code, exampleOf(code)]))
}

const exampleDetails: Partial<Record<ApiErrorCode, string>> = {
  invalid_input: 'name: is not known here',
  unauthorized: 'this token is not known',
  not_found: 'there is no such webhook',
}

const header = (description: string, type: string) => ({ description, schema: { type } })
const ref = (name: string) => ({ $ref: `#/components/headers/${name}` })

/** The components that {@link ResponseBook} refers to. */
export const headerComponents = {
  'RateLimit-Limit': header(
    'requests that the API key has in a second; not for the operator, nor without a key',
    'integer',
  ),
  'RateLimit-Remaining': header('what is left of them', 'integer'),
  'RateLimit-Reset': header('seconds until there are as many again', 'integer'),
  'Retry-After': header('seconds to wait before the next try', 'integer'),
  'WWW-Authenticate': header('`Bearer`', 'string'),
  [replayedHeader]: header(
    '`true` where this is the answer of an earlier call with the same Idempotency-Key',
    'string',
  ),
}

const rateLimitHeaders = Object.fromEntries(
  Object.keys(headerComponents)
    .filter((name) => name.startsWith('RateLimit-'))
    .map((name) => [name, ref(name)]),
)
const replayHeaders = { [replayedHeader]: ref(replayedHeader) }

function headersOf(status: number): Record<string, unknown> {
  return {
    ...rateLimitHeaders,
    ...(status === 401 ? { 'WWW-Authenticate': ref('WWW-Authenticate') } : {}),
    ...(status === 429 || status === 503 ? { 'Retry-After': ref('Retry-After') } : {}),
  }
}
