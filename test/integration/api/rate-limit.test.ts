import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAccount, startRelevo, type TestRelevo } from '../../support/relevo.ts'
import { type ApiAnswer, adminToken, listen, startApi, type TestApi, type TestWorkspace } from './api-app.ts'

const limit = 4
/** More than two seconds' worth, so that a slow machine is caught as well. */
const many = 60

let open: TestApi
let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  open = await startApi()
  workspace = await open.makeWorkspace()
  api = await listen({ database: open.database, requestsPerSecond: limit })
})
afterAll(async () => {
  await api.close()
  await open.close()
})

const burst = (count: number, token?: string): Promise<ApiAnswer[]> =>
  Promise.all(Array.from({ length: count }, () => api.call('GET', '/v1/clients', { token })))

test('past the limit of a second: 429, with the standard headers', async () => {
  const answers = await burst(many, workspace.apiKey)
  const served = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status === 429)
  expect(served.length).toBeGreaterThanOrEqual(limit)
  expect(served.length + refused.length).toBe(many)
  for (const { headers } of answers) {
    expect(headers.get('ratelimit-limit')).toBe(String(limit))
    expect(Number(headers.get('ratelimit-remaining'))).toBeLessThan(limit)
    expect(headers.get('ratelimit-reset')).toMatch(/^[01]$/)
  }
  const [answer] = refused
  expect(answer?.headers.get('retry-after')).toMatch(/^[01]$/)
  expect(answer?.headers.get('ratelimit-remaining')).toBe('0')
  expect(answer?.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect(answer?.body).toMatchObject({ code: 'rate_limited', status: 429, type: 'urn:relevo:problem:rate_limited' })
  expect(api.reported).toEqual([])
})

test('each key has its own limit; the operator, and whoever names no key, have none', async () => {
  const other = await open.makeApiKey(workspace.id, ['read'])
  const operator = () => api.call('GET', '/v1/workspaces', { token: adminToken })
  const [tired, fresh, operators, nobody, typo] = await Promise.all([
    burst(many, workspace.apiKey),
    burst(1, other),
    Promise.all(Array.from({ length: many }, operator)),
    burst(many),
    burst(many, 'rlv_a-typo'),
  ])
  expect(tired.some(({ status }) => status === 429)).toBe(true)
  expect(fresh[0]?.status).toBe(200)
  expect(new Set(operators.map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set([...nobody, ...typo].map(({ status }) => status))).toEqual(new Set([401]))
  for (const { headers } of [...operators, ...nobody]) expect(headers.get('ratelimit-limit')).toBeNull()
})

test('guesses at keys share the limit of their address', async () => {
  const guess = (count: number) => burst(count, `${workspace.apiKey.slice(0, -3)}abc`)
  await expect.poll(async () => (await guess(1))[0]?.status, { timeout: 5000 }).toBe(401)
  expect((await guess(many)).some(({ status }) => status === 429)).toBe(true)
})

test('many keys from one address are served, however many guesses come from there', async () => {
  const workspaces = await Promise.all(Array.from({ length: 3 * limit }, () => open.makeWorkspace()))
  const fresh = await listen({ database: open.database, requestsPerSecond: limit })
  try {
    const get = (token: string) => fresh.call('GET', '/v1/clients', { token })
    const guesses = Promise.all(Array.from({ length: many }, () => get(`${workspace.apiKey.slice(0, -3)}abc`)))
    const answers = await Promise.all(workspaces.map(({ apiKey }) => get(apiKey)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    await guesses
  } finally {
    await fresh.close()
  }
})

test('the next second is a new one', async () => {
  await burst(limit + 1, workspace.apiKey)
  await expect.poll(async () => (await burst(1, workspace.apiKey))[0]?.status, { timeout: 5000 }).toBe(200)
})

test('exchanges, health and the pages are never limited', async () => {
  const relevo: TestRelevo = await startRelevo({ API_RATE_LIMIT: '1' })
  try {
    for (const [method, path] of [
      ['POST', '/api/whatsapp/flows/1/data'],
      ['GET', '/livez'],
      ['GET', '/readyz'],
      ['GET', '/metrics'],
      ['GET', '/openapi.json'],
    ] as const) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(relevo.url + path, { method })))
      expect(answers.map(({ status }) => status)).not.toContain(429)
      expect(answers[0]?.headers.get('ratelimit-limit')).toBeNull()
    }
    const { token } = await createAccount(relevo)
    const answers = await Promise.all(Array.from({ length: many }, () => relevo.api('GET', '/v1/clients', { token })))
    expect(answers.map(({ status }) => status)).toContain(429)
  } finally {
    await relevo.close()
  }
})
