import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exampleDeliveryId, exampleExchangeId, exampleId, exampleWabaId } from '../../../src/api/example.ts'
import { describeApi } from '../../../src/api/openapi.ts'
import { errorCodesOf } from '../../../src/api/openapi-responses.ts'
import { type Route, routes } from '../../../src/api/routes.ts'
import { apiErrorCodes } from '../../../src/domain/errors.ts'
import { eventually } from '../../support/eventually.ts'
import { type FakeGraph, startGraph } from '../../support/graph.ts'
import { fakeMeta } from '../../support/meta.ts'
import { startRelevo, type TestRelevo } from '../../support/relevo.ts'
import { type FakeTenant, startTenant } from '../../support/tenant.ts'
import { reply } from '../../support/tenant-behaviours.ts'
import type { Json } from './api-app.ts'
import { type ExampleRequest, KnownIds, makeExamples, pathOf } from './example-calls.ts'

const document: Json = JSON.parse(JSON.stringify(describeApi(routes)))
const nameOf = (route: Route) => `${route.method} ${route.path}`
const operations: Json[] = Object.values<Json>(document.paths).flatMap((path) => Object.values(path))

let relevo: TestRelevo
let graph: FakeGraph
let tenant: FakeTenant

beforeAll(async () => {
  tenant = await startTenant()
  tenant.always(reply({ screen: 'OFFER', data: {} }))
  graph = await startGraph({ knowsEveryId: true })
  relevo = await startRelevo({ GRAPH_API_URL: graph.url })
})
afterAll(async () => {
  await relevo.close()
  await graph.close()
  await tenant.close()
})

describe('the document', () => {
  test('is OpenAPI 3.1, as a public validator sees it', async () => {
    const validator = new Validator()
    const { valid, errors } = await validator.validate(structuredClone(document))
    expect(errors).toBeUndefined()
    expect(valid).toBe(true)
    expect(validator.version).toBe('3.1')
  })

  test('has every route once, under a name of its own', () => {
    expect(operations).toHaveLength(routes.length)
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(routes.length)
    for (const { operationId, tags } of operations) {
      expect(operationId).toMatch(/^(list|get|create|update|delete|[a-z]+)[A-Z]\w+$/)
      expect(document.tags.find(({ name }: Json) => name === tags[0])?.description).toBeTruthy()
    }
  })

  test('refers to nothing that is not there, and has nothing that nothing refers to', () => {
    const references = new Set(
      [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/([^"]+)"/g)].map(([, path]) => path),
    )
    const components = Object.entries<Json>(document.components)
      .filter(([kind]) => kind !== 'securitySchemes')
      .flatMap(([kind, members]) => Object.keys(members).map((name) => `${kind}/${name}`))
    expect([...references].sort()).toEqual(components.sort())
  })

  test('says of each operation who may call it and how it can fail', () => {
    for (const route of routes) {
      const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
      const { security, responses, parameters } = document.paths[path][route.method.toLowerCase()]
      const named = JSON.stringify(parameters)
      if (route.scope === 'operator') expect(security).toEqual([{ operator: [] }])
      else expect(security).toEqual([{ apiKey: [route.scope] }, { operator: [] }])
      expect(named.includes('X-Workspace-Id')).toBe(route.scope !== 'operator')
      expect(named.includes('Idempotency-Key')).toBe(route.method === 'POST')
      for (const status of ['400', '401', '403', '429', '500', '503']) expect(responses).toHaveProperty(status)
      for (const code of errorCodesOf(route)) expect(responses).toHaveProperty(String(apiErrorCodes[code][0]))
    }
  })

  test('is served as it is, without a token', async () => {
    const response = await fetch(`${relevo.url}/openapi.json`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(await response.json()).toEqual(document)
  })

  test('is written once: the same bytes under the same tag, and none to whoever has them', async () => {
    const tags = new Set<string | null>()
    for (const path of ['/openapi.json', '/docs/json']) {
      const answer = await fetch(relevo.url + path)
      const tag = answer.headers.get('etag') ?? ''
      tags.add(tag)
      expect(tag).toMatch(/^"[\w-]{43}"$/)
      const again = await fetch(relevo.url + path, { headers: { 'if-none-match': tag } })
      expect([again.status, await again.text()]).toEqual([304, ''])
    }
    expect(tags.size).toBe(1)
    expect((await fetch(`${relevo.url}/docs/yaml`)).status).toBe(404)
  })

  test('has its copy in docs/openapi.json', async () => {
    const copy = await readFile(join(import.meta.dirname, '../../../docs/openapi.json'), 'utf8')
    expect(JSON.parse(copy), 'run npm run docs').toEqual(document)
  })
})

describe('the page at /docs', () => {
  test('is local, whole and allowed by its own policy', async () => {
    const page = await fetch(`${relevo.url}/docs`)
    expect(page.status).toBe(200)
    const html = await page.text()
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'; script-src 'self'")
    // No inline script, and nothing from elsewhere.
    expect(html).not.toMatch(/<script(?![^>]*src=)[^>]*>|https?:\/\//)
    const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file = '']) => new URL(file, page.url).href)
    expect(files.length).toBeGreaterThan(4)
    for (const file of [...files, `${relevo.url}/docs/json`]) {
      const answer = await fetch(file)
      expect(answer.status, file).toBe(200)
      expect(answer.headers.get('content-security-policy')).toBe(policy)
      await answer.arrayBuffer()
    }
    expect(await (await fetch(`${relevo.url}/docs/json`)).json()).toEqual(document)
  })
})

describe("helmet's headers", () => {
  test.each(['/openapi.json', '/docs', '/v1/clients', '/v1/no-such'])('are on %s', async (path) => {
    const { headers } = await fetch(relevo.url + path)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('x-frame-options')).toBe('SAMEORIGIN')
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  test.each(['/v1/clients', '/v1/no-such'])('no cache keeps %s, which may hold a secret', async (path) => {
    const { headers } = await fetch(relevo.url + path)
    expect(headers.get('cache-control')).toBe('no-store')
  })

  test.each(['/api/whatsapp/flows/1/data', '/livez', '/readyz'])('are not on %s', async (path) => {
    const { headers } = await fetch(relevo.url + path, { method: path.startsWith('/api') ? 'POST' : 'GET' })
    expect(headers.get('x-frame-options')).toBeNull()
    expect(headers.get('content-security-policy')).toBeNull()
  })
})

test('every documented answer is one that its schema lets through as it stands', () => {
  for (const route of routes) {
    const { status, body } = route.example.answer
    const schema = route.response[status]
    expect(schema, nameOf(route)).toBeDefined()
    expect(schema?.parse(body), nameOf(route)).toEqual(body)
  }
})

describe.each(['an API key', 'the operator'])('as %s', (caller) => {
  test('every example gets the documented status and the documented members', async () => {
    const wabaId = caller === 'the operator' ? exampleWabaId : '100000000000002'
    const known = new KnownIds({ [exampleWabaId]: wabaId, 'https://backend.example.com/flows': tenant.url })
    let apiKey = ''
    const call = async (route: Route, request: ExampleRequest) => {
      const isOperator = route.scope === 'operator' || caller === 'the operator'
      const inWorkspace = isOperator && route.scope !== 'operator'
      const answer = await relevo.api(route.method, pathOf(route, request), {
        body: request.body,
        ...(isOperator ? {} : { token: apiKey }),
        ...(inWorkspace ? { workspaceId: known.get(exampleId('workspace')) } : {}),
      })
      const documented = route.example.answer
      expect(answer.status, `${nameOf(route)} ${JSON.stringify(answer.body)}`).toBe(documented.status)
      expect(Object.keys(answer.body ?? {}).sort(), nameOf(route)).toEqual(Object.keys(documented.body ?? {}).sort())
      return answer
    }

    const [makeWorkspace, ...others] = routes
    if (makeWorkspace === undefined) throw new Error('there are no routes')
    await makeExamples([makeWorkspace], known, call)
    const path = `/v1/workspaces/${known.get(exampleId('workspace'))}/api-keys`
    apiKey = (await relevo.api('POST', path, { body: { name: 'of this test' } })).body.key
    const called = await makeExamples(others, known, call)
    const observer = { name: 'Observer', url: tenant.url, events: ['whatsapp.flows.exchanges'] }
    await relevo.api('POST', '/v1/webhooks', { body: observer, token: apiKey })
    known.set(exampleExchangeId, await makeExchange(known, wabaId, apiKey))
    known.set(exampleDeliveryId, await firstIdOf('/v1/deliveries', apiKey))

    const rest = others.filter((route) => !called.has(route))
    for (const route of rest.filter(({ method }) => method !== 'DELETE')) await call(route, known.requestOf(route))
    // What was made last goes first.
    const removing = rest.filter(({ method }) => method === 'DELETE').reverse()
    for (const route of removing) await call(route, known.requestOf(route))
    graph.assertNoSurprises()
  })
})

/** By a call from Meta, as exchanges come. */
async function makeExchange(known: KnownIds, wabaId: string, token: string): Promise<string> {
  const { body: waba } = await relevo.api('GET', `/v1/wabas/${wabaId}`, { token })
  const endpointUri = `${relevo.url}/api/whatsapp/flows/${wabaId}/data`
  // The flow key that was made last.
  const { publicKey } = waba
  const meta = fakeMeta({ endpointUri, publicKey, appSecret: 'an-example-app-secret' })
  expect((await meta.init('a-flow-token')).status).toBe(200)
  expect(known.has(exampleId('webhook'))).toBe(true)
  return firstIdOf('/v1/exchanges', token)
}

function firstIdOf(path: string, token: string): Promise<string> {
  return eventually(async () => (await relevo.api('GET', path, { token })).body.data[0]?.id ?? null)
}
