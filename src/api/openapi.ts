import type { z } from 'zod'
import { isObject } from '../domain/json.ts'
import { idempotencyHeader, idempotencyKeyPattern } from './idempotency.ts'
import { namesOfItems, operationIdOf, pathTemplate, tagOf } from './openapi-names.ts'
import { headerComponents, ResponseBook } from './openapi-responses.ts'
import { type JsonSchema, SchemaBook } from './openapi-schemas.ts'
import { workspaceHeader } from './register.ts'
import type { Route } from './routes.ts'

const description = `The API of Relevo: terminates Meta's encrypted WhatsApp Flow requests for many tenants and asks their webhooks in clear.

- Every call needs a bearer token: a workspace's API key (\`rlv_…\`), or the operator's token and, for what lies in a workspace, the header \`${workspaceHeader}\`.
- Problems are \`application/problem+json\` (RFC 9457). They are looked for in this order: 401, 429, 403, 400, 404.
- Lists come newest first, page by page: pass \`nextCursor\` of one page as \`cursor\` for the next; null: it was the last.
- PATCH changes the members that are given; null empties those that can be empty.
- Repeat a POST with the same \`${idempotencyHeader}\` within 24 hours, and it is not made again: you get the first answer. That holds for whatever the
  operation answered, 4xx included, but not for calls that were refused before it (400 and earlier) nor for 429 and 5xx: these free the key at once,
  unless a message may have been sent all the same. A call that died frees it after 60 seconds, and so does a 503 after which the database may still
  carry out the change: until then you get 409 \`idempotency_in_progress\`. The header is of no effect on other methods.`

const tags: Readonly<Record<string, string>> = {
  workspaces: 'Tenants and their API keys, for the operator.',
  wabas: "WhatsApp Business Accounts, with their app secrets and the flow keys that open Meta's requests.",
  channels: 'Phone numbers of WABAs.',
  flows: 'Snapshots of Meta flows; sending them.',
  webhooks: "Where a workspace's events go.",
  'event-types': 'The events that webhooks can take.',
  clients: "A workspace's customers, by phone number.",
  conversations: 'Threads with clients.',
  'flow-responses': 'The sessions of flow tokens.',
  exchanges: 'The calls of Meta and how each ended.',
  deliveries: 'What webhooks are told of and not asked, and the attempts to tell them.',
  stats: 'Figures on exchanges: outcomes, times, and how late webhooks are.',
  'audit-log': 'Changes made through the API.',
}

export interface ApiDocument {
  readonly openapi: '3.1.0'
  /** Operations by path and method. */
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly [member: string]: unknown
}

/** The OpenAPI 3.1 document of these routes. It has no times or addresses in it: the same code makes the same text. */
export function describeApi(routes: readonly Route[]): ApiDocument {
  const schemas = new SchemaBook(namesOfItems(routes))
  const responses = new ResponseBook(schemas)
  const paths: Record<string, Record<string, unknown>> = {}
  for (const route of routes) {
    const path = pathTemplate(route.path)
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route, schemas, responses) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Relevo', version: 'v1', description, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map(tagOf))].map((name) => ({
      name,
      ...(name in tags ? { description: tags[name] } : {}),
    })),
    paths,
    components: {
      securitySchemes,
      schemas: schemas.components(),
      responses: responses.components(),
      headers: headerComponents,
      parameters: headerParameters,
    },
  }
}

const securitySchemes = {
  apiKey: { type: 'http', scheme: 'bearer', description: "A workspace's API key. Its scopes: `read`, `write`." },
  operator: {
    type: 'http',
    scheme: 'bearer',
    description: 'The token of the operator, `ADMIN_TOKEN`. It may do everything.',
  },
}

const headerParameters = {
  [workspaceHeader]: {
    name: workspaceHeader,
    in: 'header',
    description: 'The workspace in which the operator calls; he must name it. An API key may name its own.',
    schema: { type: 'string' },
  },
  [idempotencyHeader]: {
    name: idempotencyHeader,
    in: 'header',
    description: 'Any text of yours; the same for each repetition of one call, another for each other call.',
    schema: { type: 'string', pattern: idempotencyKeyPattern.source },
  },
}

function operationOf(route: Route, schemas: SchemaBook, responses: ResponseBook) {
  const { example } = route
  return {
    operationId: operationIdOf(route),
    tags: [tagOf(route)],
    summary: route.summary,
    ...(route.description === null ? {} : { description: route.description }),
    security: route.scope === 'operator' ? [{ operator: [] }] : [{ apiKey: [route.scope] }, { operator: [] }],
    parameters: [
      ...membersAs('path', schemas.input(route.params), example.params),
      ...membersAs('query', schemas.input(route.query), example.query),
      ...headersOf(route),
    ],
    ...(route.body === null ? {} : { requestBody: requestBodyOf(route.body, schemas, example.body) }),
    responses: responses.of(route),
  }
}

function membersAs(place: 'path' | 'query', schema: JsonSchema, example: unknown): unknown[] {
  const properties = (schema.properties ?? {}) as Record<string, JsonSchema>
  const required = Array.isArray(schema.required) ? schema.required : []
  return Object.entries(properties).map(([name, { description, ...member }]) => ({
    name,
    in: place,
    ...(description === undefined ? {} : { description }),
    required: place === 'path' || required.includes(name),
    schema: member,
    ...(isObject(example) && name in example ? { example: example[name] } : {}),
  }))
}

function headersOf(route: Route): unknown[] {
  const named = (name: string) => ({ $ref: `#/components/parameters/${name}` })
  return [
    ...(route.tenancy === 'workspace' ? [named(workspaceHeader)] : []),
    ...(route.method === 'POST' ? [named(idempotencyHeader)] : []),
  ]
}

function requestBodyOf(body: z.ZodType, schemas: SchemaBook, example: unknown) {
  return {
    required: !body.safeParse({}).success,
    content: { 'application/json': { schema: schemas.input(body), ...(example === undefined ? {} : { example }) } },
  }
}
