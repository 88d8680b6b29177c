import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Route, routes } from '../../../src/api/routes.ts'
import { newId } from '../../../src/domain/ids.ts'
import { type ApiAnswer, adminToken, type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { makeRecords, operatorSamples, type Records, type Sample, samples } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let records: Records
let foreign: Records
let foreignId: string
const keys = { read: '', write: '' }

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  records = await makeRecords(api, workspace)
  const other = await api.makeWorkspace()
  foreignId = other.id
  foreign = await makeRecords(api, other)
  keys.read = await api.makeApiKey(workspace.id, ['read'])
  keys.write = await api.makeApiKey(workspace.id, ['write'])
})
afterAll(() => api.close())

const nameOf = (route: Route) => `${route.method} ${route.path}`
const sampleOf = (route: Route): Sample => ({ ...operatorSamples, ...samples })[nameOf(route)] ?? {}
const table = routes.map((route) => [nameOf(route), route] as const)
const workspaceRoutes = table.filter(([, route]) => route.scope !== 'operator')
const operatorRoutes = table.filter(([, route]) => route.scope === 'operator')
const takesBody = table.filter(([, route]) => route.body !== null)
const takesId = table.filter(([, route]) => route.path.includes(':'))
const namesOthers = table.filter(([, route]) => sampleOf(route).named)

function pathOf(route: Route, id = sampleOf(route).pathId?.(records) ?? workspace.id): string {
  return route.path.replace(/:\w+/, id)
}

interface Changes {
  readonly token?: string | undefined
  readonly body?: Json
  readonly headers?: Record<string, string>
}

/** Calls a route as its sample says, with the token that it needs, but for the changes. */
function call(route: Route, changes: Changes = {}): Promise<ApiAnswer> {
  return api.call(route.method, pathOf(route), {
    token: route.scope === 'operator' ? adminToken : workspace.apiKey,
    body: sampleOf(route).body?.(records),
    ...changes,
  })
}

function callAt(route: Route, path: string): Promise<ApiAnswer> {
  const token = route.scope === 'operator' ? adminToken : workspace.apiKey
  return api.call(route.method, path, { token, body: sampleOf(route).body?.(records) })
}

function expectProblem(answer: ApiAnswer, status: number, code: string): void {
  expect(answer.text).toContain(`"code":"${code}"`)
  expect(answer.status).toBe(status)
  expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(answer.body).toMatchObject({ type: `urn:relevo:problem:${code}`, status, code })
}

test('every route has a sample, and every sample a route', () => {
  expect(routes.map(nameOf).sort()).toEqual(Object.keys({ ...operatorSamples, ...samples }).sort())
})

test('a route without a scope does not typecheck', () => {
  const [route] = routes
  if (route === undefined) throw new Error('there are no routes')
  const { scope: _scope, ...unscoped } = route
  // @ts-expect-error a route must say who may call it
  const bad: Route = unscoped
  expect(bad).not.toHaveProperty('scope')
})

test('a workspace key reads with GET and writes with all else', () => {
  for (const [, route] of workspaceRoutes) expect(route.scope).toBe(route.method === 'GET' ? 'read' : 'write')
})

describe.each(table)('%s', (_name, route) => {
  test('serves a call that is right', async () => {
    const answer = await call(route)
    expect(answer.text).not.toContain('"code"')
    expect(answer.status).toBe(route.method === 'POST' ? 201 : 200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  test('401 without a token, and with a wrong one, before all else', async () => {
    for (const token of [undefined, 'wrong', `rlv_${'0'.repeat(26)}_${'x'.repeat(43)}`, `${workspace.apiKey}x`]) {
      const answer = await call(route, { token, body: route.body ? { surprise: 1 } : undefined })
      expectProblem(answer, 401, 'unauthorized')
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    }
  })

  test('403 for a token that may not, before the body is looked at', async () => {
    const token = { operator: workspace.apiKey, read: keys.write, write: keys.read }[route.scope]
    expectProblem(await call(route, { token, body: route.body ? { surprise: 1 } : undefined }), 403, 'forbidden')
  })

  test('400 for a query member that it does not know', async () => {
    const answer = await callAt(route, `${pathOf(route)}?surprise=1`)
    expectProblem(answer, 400, 'invalid_input')
    expect(answer.body.errors).toEqual([{ path: 'surprise', message: 'is not known here' }])
  })
})

describe.each(takesBody)('%s', (_name, route) => {
  test('400 for a body member that it does not know', async () => {
    const answer = await call(route, { body: { ...sampleOf(route).body?.(records), surprise: 'tell-nobody' } })
    expectProblem(answer, 400, 'invalid_input')
    expect(answer.body.errors).toEqual([{ path: 'surprise', message: 'is not known here' }])
    expect(answer.text).not.toContain('tell-nobody')
  })

  test('400 for a body that is missing or no object', async () => {
    for (const body of [undefined, null, 5, 'text', [], [{}]]) {
      expectProblem(await call(route, { body }), 400, 'invalid_input')
    }
  })

  test('never 500 and never an echo for strange values, one member at a time', async () => {
    const body = sampleOf(route).body?.(records)
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
    for (const member of Object.keys(body)) {
      for (const value of strange) {
        const answer = await call(route, { body: { ...sampleOf(route).body?.(records), [member]: value } })
        expect(answer.status, `${member}: ${JSON.stringify(value).slice(0, 50)}`).toBeLessThan(500)
        if (answer.status === 400)
          expect(answer.body.errors.map((fault: Json) => fault.message).join()).not.toContain(canary)
        if (answer.status === 400) expect(answer.body.errors[0].path).toMatch(new RegExp(`^${member}`))
      }
    }
  })
})

describe.each(takesId)('%s', (_name, route) => {
  test('404 for ids from nowhere and for what cannot be an id', async () => {
    const nowhere = sampleOf(route).nowhere?.() ?? newId('workspace')
    for (const id of [
      nowhere,
      'x',
      '%00',
      'a%2Fb',
      "'--",
      'x'.repeat(90),
      'x'.repeat(300),
      '%F0%9F%A6%8A',
      '%ff',
      '%',
    ]) {
      expectProblem(await callAt(route, pathOf(route, id)), 404, 'not_found')
    }
  })
})

describe.each(workspaceRoutes)('%s', (_name, route) => {
  test('the operator names the workspace in a header', async () => {
    expect((await call(route, { token: adminToken, headers: { 'X-Workspace-Id': workspace.id } })).status).toBeLessThan(
      300,
    )
    const missing = await call(route, { token: adminToken })
    expectProblem(missing, 400, 'invalid_input')
    expect(missing.body.errors[0].path).toBe('X-Workspace-Id')
    for (const id of [newId('workspace'), 'x']) {
      expectProblem(await call(route, { token: adminToken, headers: { 'X-Workspace-Id': id } }), 404, 'not_found')
    }
  })

  test('404 for a key that names another workspace than its own', async () => {
    expect((await call(route, { headers: { 'X-Workspace-Id': workspace.id } })).status).toBeLessThan(300)
    expectProblem(await call(route, { headers: { 'X-Workspace-Id': foreignId } }), 404, 'not_found')
  })
})

describe.each(workspaceRoutes.filter(([, route]) => route.path.includes(':')))('%s', (_name, route) => {
  test("404 for another workspace's id", async () => {
    const id = sampleOf(route).pathId?.(foreign) ?? ''
    expectProblem(await callAt(route, pathOf(route, id)), 404, 'not_found')
  })
})

describe.each(namesOthers)('%s', (_name, route) => {
  test("404 for another workspace's ids and ids from nowhere in body and query", async () => {
    for (const [member, idOf] of Object.entries(sampleOf(route).named ?? {})) {
      for (const id of [idOf(foreign), Array.isArray(idOf(foreign)) ? ['nowhere'] : 'nowhere']) {
        const answer =
          route.body === null
            ? await callAt(route, `${pathOf(route)}?${member}=${id}`)
            : await call(route, { body: { ...sampleOf(route).body?.(records), [member]: id } })
        expectProblem(answer, 404, 'not_found')
        expect(answer.body.detail).toMatch(new RegExp(`^${member}: `))
      }
    }
  })
})

test('bad input is told before what does not exist', async () => {
  for (const [, route] of namesOthers.filter(([, route]) => route.body !== null)) {
    const body = { ...sampleOf(route).body?.(foreign), surprise: 1 }
    expectProblem(await call(route, { body }), 400, 'invalid_input')
  }
  const body = { name: 'x', surprise: 1 }
  const path = `/v1/workspaces/${newId('workspace')}/api-keys`
  expectProblem(await api.call('POST', path, { token: adminToken, body }), 400, 'invalid_input')
})

test('operator routes are closed to workspace keys even for their own workspace', async () => {
  for (const [, route] of operatorRoutes)
    expectProblem(await call(route, { token: workspace.apiKey }), 403, 'forbidden')
})

test('none of this failed inside', () => {
  expect(api.reported).toEqual([])
})
