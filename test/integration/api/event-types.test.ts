import { afterAll, beforeAll, expect, test } from 'vitest'
import { listEventTypes } from '../../../src/domain/event-catalogue.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

test('the catalogue: every event with description, schema and example, on one page', async () => {
  const { body } = await workspace.get('/v1/event-types')
  expect(body.nextCursor).toBeNull()
  expect(body.data).toEqual(JSON.parse(JSON.stringify(listEventTypes())))
  expect(Object.keys(body.data[0])).toEqual(['event', 'description', 'answerAwaited', 'schema', 'example'])
})

test('pages like every list', async () => {
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const body: Json = (await workspace.get(`/v1/event-types?limit=4${cursor ? `&cursor=${cursor}` : ''}`)).body
    seen.push(...body.data.map(({ event }: Json) => event))
    cursor = body.nextCursor
  } while (cursor !== null)
  expect(seen).toEqual(listEventTypes().map(({ event }) => event))
  const strange = Buffer.from('whatsapp.flows.none').toString('base64url')
  expect((await workspace.get(`/v1/event-types?cursor=${strange}`)).status).toBe(400)
})
