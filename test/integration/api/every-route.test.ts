import Fastify from 'fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { exampleDeliveryId, exampleExchangeId, exampleId, exampleWabaId } from '../../../src/api/example.ts'
import { registerRoutes } from '../../../src/api/register.ts'
import { type Route, routes } from '../../../src/api/routes.ts'
import { type IdKind, idPrefixes, newId, newUuid } from '../../../src/domain/ids.ts'
import { type FakeGraph, startGraph } from '../../support/graph.ts'
import { connectGraph } from '../../support/graph-client.ts'
import { type ApiAnswer, adminToken, type Json, startApi, type TestApi } from './api-app.ts'
import { type ExampleRequest, KnownIds, makeExamples, pathOf } from './example-calls.ts'
import { insertDelivery, insertExchange, nextNumber } from './samples.ts'
import { withMember, wrongMembersOf, wrongValuesOf } from './wrong-values.ts'

/** Every route of routes.ts, from its schemas and its example alone: a new route is covered by being listed. */

let api: TestApi
let fake: FakeGraph
let graph: ReturnType<typeof connectGraph>
/** Two workspaces with one of everything each. */
let own: KnownIds
let foreign: KnownIds
const tokens = { both: '', read: '', write: '', foreign: '' }

beforeAll(async () => {
  fake = await startGraph({ knowsEveryId: true })
  graph = connectGraph(fake.url)
  api = await startApi({ graph })
  own = await makeOneOfEach()
  foreign = await makeOneOfEach()
  const [mine, others] = [own.get(exampleId('workspace')), foreign.get(exampleId('workspace'))]
  tokens.both = await api.makeApiKey(mine, ['read', 'write'])
  tokens.read = await api.makeApiKey(mine, ['read'])
  tokens.write = await api.makeApiKey(mine, ['write'])
  tokens.foreign = await api.makeApiKey(others, ['read', 'write'])
})
afterAll(async () => {
  await api.close()
  await graph.close()
  await fake.close()
})

async function makeOneOfEach(): Promise<KnownIds> {
  const known = new KnownIds({ [exampleWabaId]: nextNumber() })
  await makeExamples(routes, known, async (route, request) => {
    const workspaceId = known.has(exampleId('workspace')) ? known.get(exampleId('workspace')) : ''
    const headers = route.scope === 'operator' ? {} : { 'X-Workspace-Id': workspaceId }
    const answer = await send(route, request, { token: adminToken, headers })
    expect(answer.status, answer.text).toBeLessThan(300)
    return answer
  })
  const workspace = { id: known.get(exampleId('workspace')) } as Parameters<typeof insertExchange>[1]
  known.set(exampleExchangeId, await insertExchange(api, workspace, { wabaId: known.get(exampleWabaId) }))
  known.set(exampleDeliveryId, await insertDelivery(api, workspace, { webhookId: known.get(exampleId('webhook')) }))
  return known
}

interface Sending {
  readonly token?: string | undefined
  readonly headers?: Record<string, string>
}

function send(route: Route, request: ExampleRequest, { token, headers = {} }: Sending): Promise<ApiAnswer> {
  return api.call(route.method, pathOf(route, request), { token, headers, body: request.body })
}

const nameOf = (route: Route) => `${route.method} ${route.path}`
const tokenFor = (route: Route) => (route.scope === 'operator' ? adminToken : tokens.both)
const call = (route: Route, changes: Partial<ExampleRequest> = {}) =>
  send(route, { ...own.requestOf(route), ...changes }, { token: tokenFor(route) })

function expectProblem(answer: ApiAnswer, status: number, code: string): void {
  expect(answer.text).toContain(`"code":"${code}"`)
  expect(answer.status).toBe(status)
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(answer.body).toMatchObject({ type: `urn:relevo:problem:${code}`, status, code })
}

const jsonSchemaOf = (schema: z.ZodType): Json => z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })

// Members by which bodies and filters name other things.
const references: Readonly<Record<string, string>> = {
  wabaId: exampleWabaId,
  flowId: exampleId('flow'),
  flowIds: exampleId('flow'),
  channelId: exampleId('channel'),
  clientId: exampleId('client'),
  conversationId: exampleId('conversation'),
  webhookId: exampleId('webhook'),
}

/** The members of body or query that name what must be in the workspace: not those that give a new thing its id. */
function referencesIn(route: Route, schema: z.ZodType | null): string[] {
  const members = schema === null ? [] : Object.keys(jsonSchemaOf(schema).properties ?? {})
  const gives = (member: string) => routes.some(({ path }) => path === `${route.path}/:${member}`)
  return members.filter((member) => member in references && !gives(member))
}

function fromNowhere(exampleOf: string): string {
  if (exampleOf === exampleWabaId) return nextNumber()
  if (exampleOf === exampleExchangeId || exampleOf === exampleDeliveryId) return newUuid()
  const kind = (Object.keys(idPrefixes) as IdKind[]).find((it) => exampleId(it) === exampleOf)
  if (kind === undefined) throw new Error(`${exampleOf} is no id of example.ts`)
  return newId(kind)
}

const table = routes.map((route) => [nameOf(route), route] as const)
const workspaceRoutes = table.filter(([, route]) => route.scope !== 'operator')
const takesBody = table.filter(([, route]) => route.body !== null)
const takesId = table.filter(([, route]) => route.path.includes(':'))
const naming = table.filter(([, route]) => [...referencesIn(route, route.body), ...referencesIn(route, route.query)][0])

test('there are examples of everything that an example names', () => {
  for (const route of routes) expect(own.canCall(route), nameOf(route)).toBe(true)
})

test('a route without a scope neither typechecks nor is registered', () => {
  const [route] = routes
  if (route === undefined) throw new Error('there are no routes')
  const { scope: _scope, ...unscoped } = route
  // @ts-expect-error a route must say who may call it
  const bad: Route = unscoped
  expect(() => registerRoutes(Fastify(), {} as never, [bad])).toThrow(`${nameOf(route)} has no scope`)
})

test('a workspace key reads with GET and writes with all else', () => {
  for (const [, route] of workspaceRoutes) expect(route.scope).toBe(route.method === 'GET' ? 'read' : 'write')
})

describe.each(table)('%s', (_name, route) => {
  const junk = route.body === null ? {} : { body: { surprise: 1 } }

  test('401 without a token, and with a wrong one, before all else', async () => {
    for (const token of [undefined, 'wrong', `rlv_${'0'.repeat(26)}_${'x'.repeat(43)}`, `${tokens.both}x`]) {
      const answer = await send(route, { ...own.requestOf(route), ...junk }, { token })
      expectProblem(answer, 401, 'unauthorized')
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    }
  })

  test('403 for a token that may not, before the body is looked at', async () => {
    const token = { operator: tokens.both, read: tokens.write, write: tokens.read }[route.scope]
    expectProblem(await send(route, { ...own.requestOf(route), ...junk }, { token }), 403, 'forbidden')
  })

  test('400 for a query member that it does not know', async () => {
    const answer = await call(route, { query: { surprise: '1' } })
    expectProblem(answer, 400, 'invalid_input')
    expect(answer.body.errors).toEqual([{ path: 'surprise', message: 'is not known here' }])
  })

  test('400 for query members of the wrong type, and given twice', async () => {
    const { params } = own.requestOf(route)
    for (const [member, schema] of Object.entries<Json>(jsonSchemaOf(route.query).properties ?? {})) {
      const isAnyText = schema.type === 'string' && schema.enum === undefined && schema.format === undefined
      for (const search of [...(isAnyText ? [] : [`${member}=no`]), `${member}=a&${member}=b`]) {
        const path = `${pathOf(route, { params, query: {} })}?${search}`
        const answer = await api.call(route.method, path, { token: tokenFor(route) })
        expectProblem(answer, 400, 'invalid_input')
        expect(answer.body.errors[0].path).toBe(member)
      }
    }
  })

  test('400 for a body member that it does not know', async () => {
    if (route.method === 'GET') return
    const { body = {} } = own.requestOf(route)
    const answer = await call(route, { body: { ...body, surprise: 'tell-nobody' } })
    expectProblem(answer, 400, 'invalid_input')
    expect(answer.body.errors).toEqual([{ path: 'surprise', message: 'is not known here' }])
    expect(answer.text).not.toContain('tell-nobody')
  })

  test('400 for an Idempotency-Key that is none', async () => {
    if (route.method !== 'POST') return
    for (const idempotencyKey of ['', 'x'.repeat(256), 'ñandú']) {
      const headers = { 'Idempotency-Key': idempotencyKey }
      const answer = await send(route, own.requestOf(route), { token: tokenFor(route), headers })
      expectProblem(answer, 400, 'invalid_input')
      expect(answer.body.errors[0].path).toBe('Idempotency-Key')
    }
  })
})

describe.each(takesBody)('%s', (_name, route) => {
  const schema = route.body === null ? {} : jsonSchemaOf(route.body)

  test('400 for a body that is no object', async () => {
    for (const body of [null, 5, 'text', [], [{}]]) {
      expectProblem(await call(route, { body }), 400, 'invalid_input')
    }
  })

  test('400 for each member of the wrong type, and for unknown ones in its objects', async () => {
    const { body } = own.requestOf(route)
    for (const wrong of wrongMembersOf(schema)) {
      const answer = await call(route, { body: withMember(body, wrong) })
      expect(answer.status, `${wrong.path.join('.')} = ${JSON.stringify(wrong.value)}: ${answer.text}`).toBe(400)
      const named = answer.body.errors.map((fault: Json) => fault.path.split('.')[0])
      expect(named, `${wrong.path.join('.')}: ${answer.text}`).toContain(wrong.path[0])
    }
  })
})

describe.each(takesId)('%s', (_name, route) => {
  const ids = Object.entries(route.example.params as Record<string, string>)

  test('404 for ids from nowhere and for what cannot be an id', async () => {
    const { params } = own.requestOf(route)
    for (const [name, exampleOf] of ids) {
      const nonsense = ['x', '%00', 'a%2Fb', "'--", 'x'.repeat(90), 'x'.repeat(300), '%F0%9F%A6%8A', '%ff', '%']
      for (const id of [fromNowhere(exampleOf), ...nonsense]) {
        expectProblem(await call(route, { params: { ...params, [name]: id } }), 404, 'not_found')
      }
    }
  })

  test("404 for another workspace's ids", async () => {
    const { params } = own.requestOf(route)
    for (const [name, exampleOf] of ids) {
      // The operator's own: all workspaces are his.
      if (route.scope === 'operator' && exampleOf === exampleId('workspace')) continue
      expectProblem(await call(route, { params: { ...params, [name]: foreign.get(exampleOf) } }), 404, 'not_found')
    }
    if (route.scope === 'operator') return
    expectProblem(await send(route, own.requestOf(route), { token: tokens.foreign }), 404, 'not_found')
  })
})

describe.each(naming)('%s', (_name, route) => {
  test("404 for another workspace's ids and ids from nowhere in body and query", async () => {
    const { query, body } = own.requestOf(route)
    for (const [member, exampleOf] of Object.entries(references)) {
      for (const id of [foreign.get(exampleOf), fromNowhere(exampleOf), 'nowhere']) {
        if (referencesIn(route, route.query).includes(member)) {
          expectMissing(await call(route, { query: { ...query, [member]: id } }), member)
        }
        if (!referencesIn(route, route.body).includes(member)) continue
        const value = member.endsWith('Ids') ? [id] : id
        // A client is named by one of the two.
        const { phoneNumber: _phoneNumber, ...rest } = body
        expectMissing(
          await call(route, { body: { ...(member === 'clientId' ? rest : body), [member]: value } }),
          member,
        )
      }
    }
  })

  test('bad input is told before what does not exist', async () => {
    if (route.body === null) return
    expectProblem(await call(route, { body: { ...foreign.requestOf(route).body, surprise: 1 } }), 400, 'invalid_input')
  })
})

function expectMissing(answer: ApiAnswer, member: string): void {
  expectProblem(answer, 404, 'not_found')
  expect(answer.body.detail).toMatch(new RegExp(`^(${member}: |there is no such client)`))
}

describe.each(workspaceRoutes)('%s', (_name, route) => {
  test('the operator must name a workspace that is there', async () => {
    const asOperator = (headers: Record<string, string>) =>
      send(route, own.requestOf(route), { token: adminToken, headers })
    const missing = await asOperator({})
    expectProblem(missing, 400, 'invalid_input')
    expect(missing.body.errors[0].path).toBe('X-Workspace-Id')
    for (const id of [newId('workspace'), 'x']) {
      expectProblem(await asOperator({ 'X-Workspace-Id': id }), 404, 'not_found')
    }
  })

  test('404 for a key that names another workspace than its own', async () => {
    const headers = { 'X-Workspace-Id': foreign.get(exampleId('workspace')) }
    expectProblem(await send(route, own.requestOf(route), { token: tokens.both, headers }), 404, 'not_found')
  })
})

test('none of this was a change', async () => {
  const log = await api.call('GET', '/v1/audit-log?limit=100', { token: tokens.both })
  const made = log.body.data.filter((entry: Json) => entry.actor !== 'operator' && entry.status < 300)
  expect(made).toEqual([])
})

// Last, because much of it is taken.
describe.each(takesBody)('%s', (_name, route) => {
  test('never 500 and never an echo for strange values, one member at a time', async () => {
    const canary = 'canary-71c5'
    const strange = [
      `${canary}\0`,
      `${canary}\ud800`,
      canary.repeat(2000),
      1e300,
      -1,
      true,
      [canary, canary],
      { [canary]: canary },
      [[]],
      '',
    ]
    const { body = {} } = own.requestOf(route)
    const members = Object.keys(route.body === null ? {} : (jsonSchemaOf(route.body).properties ?? {}))
    for (const member of members) {
      for (const value of strange) {
        const answer = await call(route, { body: { ...body, [member]: value } })
        expect(answer.status, `${member}: ${JSON.stringify(value).slice(0, 50)}`).toBeLessThan(500)
        if (answer.status !== 400) continue
        expect(answer.body.errors.map((fault: Json) => fault.message).join()).not.toContain(canary)
      }
    }
  })
})

test('none of this failed inside', () => {
  expect(api.reported).toEqual([])
})

test('the wrong values are wrong, whatever the schema says', () => {
  const schema = z.strictObject({
    text: z.string(),
    maybe: z.int().nullish(),
    one: z.enum(['a']),
    any: z.unknown(),
    list: z.array(z.strictObject({ flag: z.boolean() })),
  })
  const good = { text: 't', one: 'a', list: [{ flag: true }] }
  const wrong = wrongMembersOf(jsonSchemaOf(schema))
  expect(wrong.length).toBeGreaterThan(25)
  for (const it of wrong) expect(schema.safeParse(withMember(good, it)).success, it.path.join('.')).toBe(false)
  expect(wrongValuesOf({})).toEqual([])
})
