import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
import { adminToken, type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { channelInput, insertDelivery, insertExchange, nextNumber, nextPhoneNumber, webhookInput } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace
let wabaId: string
let clientId: string

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
  wabaId = (await workspace.make('/v1/wabas', { wabaId: nextNumber() })).wabaId
  clientId = (await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })).id
})
afterAll(() => api.close())

const asOperator = (path: string) => api.call('GET', path, { token: adminToken })

/** How one more item of each list is made. */
const makers: Record<string, () => Promise<Json>> = {
  '/v1/workspaces': () => api.makeWorkspace(),
  '/v1/wabas': () => workspace.make('/v1/wabas', { wabaId: nextNumber() }),
  '/v1/channels': () => workspace.make('/v1/channels', channelInput(wabaId)),
  '/v1/flows': () => workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() }),
  '/v1/webhooks': () => workspace.make('/v1/webhooks', webhookInput),
  '/v1/clients': () => workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() }),
  '/v1/conversations': () => workspace.make('/v1/conversations', { clientId }),
  '/v1/flow-responses': () => workspace.make('/v1/flow-responses', { flowToken: `list-${nextNumber()}` }),
  '/v1/exchanges': async () => ({ id: await insertExchange(api, workspace, {}) }),
  'api-keys': () => api.makeApiKey(workspace.id, ['read']),
}

describe.each(Object.entries(makers))('%s', (name, make) => {
  const path = () => (name === 'api-keys' ? `/v1/workspaces/${workspace.id}/api-keys` : name)
  const page = async (query: string) => {
    const get = name === 'api-keys' || name === '/v1/workspaces' ? asOperator : workspace.get
    return (await get(`${path()}?${query}`)).body
  }
  const idOf = (item: Json): string => item.id ?? item.wabaId

  test('pages from the newest to the oldest, and inserts in between move nothing', async () => {
    for (let i = 0; i < 5; i++) await make()
    const before = (await page('limit=100')).data.map(idOf)
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const body: Json = await page(`limit=2${cursor === null ? '' : `&cursor=${cursor}`}`)
      expect(body.data.length).toBeLessThanOrEqual(2)
      seen.push(...body.data.map(idOf))
      cursor = body.nextCursor
      await make()
    } while (cursor !== null)
    expect(seen).toEqual(before)
    expect(new Set(seen).size).toBe(seen.length)
    if (name !== '/v1/wabas') expect(seen).toEqual(seen.toSorted().reverse())
  })

  test('ends with a null cursor, also when the last page is full', async () => {
    const { length } = (await page('limit=100')).data
    const full = await page(`limit=${length}`)
    expect(full.data).toHaveLength(length)
    expect(full.nextCursor).toBeNull()
  })
})

test('an empty list is an empty page of 20', async () => {
  const fresh = await api.makeWorkspace()
  expect((await fresh.get('/v1/clients')).body).toEqual({ data: [], nextCursor: null })
  for (let i = 0; i < 21; i++) await fresh.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const first = (await fresh.get('/v1/clients')).body
  expect(first.data).toHaveLength(20)
  expect((await fresh.get(`/v1/clients?cursor=${first.nextCursor}`)).body.data).toHaveLength(1)
})

test('a cursor that was changed is refused, also where a lenient decoder would not notice', async () => {
  const fresh = await api.makeWorkspace()
  for (let i = 0; i < 2; i++) await fresh.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const { nextCursor } = (await fresh.get('/v1/clients?limit=1')).body
  for (const changed of [` ${nextCursor}`, `${nextCursor} `, `${nextCursor}=`, `${nextCursor}A`, `${nextCursor}!`]) {
    const answer = await fresh.get(`/v1/clients?cursor=${encodeURIComponent(changed)}`)
    expect([answer.status, answer.body.errors], changed).toEqual([
      400,
      [{ path: 'cursor', message: 'is not a cursor of this list' }],
    ])
  }
})

test('WABAs of one millisecond are paged by their ids', async () => {
  const fresh = await api.makeWorkspace()
  for (let i = 0; i < 4; i++) await fresh.make('/v1/wabas', { wabaId: nextNumber() })
  await api.database.sql`update wabas set created_at = '2026-01-01' where workspace_id = ${fresh.id}`
  const first = (await fresh.get('/v1/wabas?limit=2')).body
  const second = (await fresh.get(`/v1/wabas?limit=2&cursor=${first.nextCursor}`)).body
  const ids = [...first.data, ...second.data].map((waba: Json) => waba.wabaId)
  expect(new Set(ids).size).toBe(4)
  expect(second.nextCursor).toBeNull()
})

test('lists hold the own workspace alone', async () => {
  const fresh = await api.makeWorkspace()
  for (const path of Object.keys(makers).filter((name) => name !== '/v1/workspaces' && name !== 'api-keys')) {
    expect((await fresh.get(path)).body.data).toEqual([])
  }
})

test('texts that a phone made long are cut in lists alone; flow tokens are found whole', async () => {
  const flowToken = `${'\u{1f98a}'.repeat(4096)}${'t'.repeat(100_000)}`
  const cut = '\u{1f98a}'.repeat(4096)
  const flowTokenDigest = sha256(flowToken)
  const long = { flowToken, flowTokenDigest, screen: 'S'.repeat(100_000), action: 'A'.repeat(100_000) }
  const exchangeId = await insertExchange(api, workspace, long)
  const deliveryId = await insertDelivery(api, workspace, { resourceId: flowToken, flowTokenDigest })
  const { id: flowResponseId } = await workspace.make('/v1/flow-responses', { flowToken: cut })
  await api.database.sql`
    update flow_responses set flow_token = ${flowToken}, flow_token_digest = ${flowTokenDigest} where id = ${flowResponseId}`
  const both = async (path: string, id: string, members: readonly string[]) => {
    const { body: listed } = await workspace.get(path)
    const { body: whole } = await workspace.get(`${path}/${id}`)
    const item = listed.data.find((it: Json) => it.id === id)
    return [item, whole].map((it) => Object.fromEntries(members.map((member) => [member, it[member]])))
  }
  expect(await both('/v1/exchanges', exchangeId, ['flowToken', 'screen', 'action'])).toEqual([
    { flowToken: cut, screen: 'S'.repeat(4096), action: 'A'.repeat(4096) },
    { flowToken, screen: long.screen, action: long.action },
  ])
  expect(await both('/v1/deliveries', deliveryId, ['resourceId'])).toEqual([
    { resourceId: cut },
    { resourceId: flowToken },
  ])
  expect(await both('/v1/flow-responses', flowResponseId, ['flowToken'])).toEqual([{ flowToken: cut }, { flowToken }])
})

test('a flow token of the most characters that a filter takes is found and whole', async () => {
  const flowToken = 't'.repeat(4096)
  const exchangeId = await insertExchange(api, workspace, { flowToken, flowTokenDigest: sha256(flowToken) })
  const { body } = await workspace.get(`/v1/exchanges?flowToken=${encodeURIComponent(flowToken)}`)
  expect(body.data).toMatchObject([{ id: exchangeId, flowToken }])
})
