import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openSecret } from '../../../src/crypto/sealed-secret.ts'
import { staticReplyBounds } from '../../../src/domain/webhook.ts'
import { mostPreviousSecrets } from '../../../src/storage/webhook-secrets.ts'
import { mostWebhooks } from '../../../src/storage/webhooks.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextNumber, webhookInput } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

test('a webhook is made with what is usual; its secret is shown once', async () => {
  const told = api.changed.length
  const { secret, ...webhook } = await workspace.make('/v1/webhooks', webhookInput)
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
  expect(webhook).toEqual({
    id: expect.stringMatching(/^wh_/),
    ...webhookInput,
    active: true,
    headers: [],
    flowIds: null,
    timeoutMs: null,
    fallback: null,
    format: 'envelope',
    breaker: { mode: 'on' },
    breakers: [],
    signed: true,
    deliveriesDisabledAt: null,
    failingSince: null,
    createdAt: expect.any(String),
    updatedAt: webhook.createdAt,
  })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  const read = await workspace.get(`/v1/webhooks/${webhook.id}`)
  expect(read.body).toEqual(webhook)
  expect((await workspace.get('/v1/webhooks')).body.data[0]).toEqual(webhook)

  const [row] = await api.database.sql`select * from webhook_secrets where webhook_id = ${webhook.id}`
  const place = { purpose: 'webhook_secret', workspaceId: workspace.id, rowId: row?.id } as const
  expect(String(openSecret(row?.signing_secret_sealed, place, api.masterKeys))).toBe(secret)
  expect(row?.expires_at).toBeNull()
})

test('a secret of the tenant is taken as it is; null leaves the webhook unsigned', async () => {
  const own = await workspace.make('/v1/webhooks', { ...webhookInput, secret: 'our own secret' })
  expect(own).toMatchObject({ secret: 'our own secret', signed: true })
  const unsigned = await workspace.make('/v1/webhooks', { ...webhookInput, secret: null })
  expect(unsigned).toMatchObject({ secret: null, signed: false })
  expect((await workspace.get(`/v1/webhooks/${unsigned.id}`)).body.signed).toBe(false)
})

test('header values are sealed, names are shown', async () => {
  const headers = { Authorization: 'Bearer inner-token', 'X-Tenant': 'caf\u00e9' }
  const made = await workspace.post('/v1/webhooks', { ...webhookInput, headers })
  expect(made.body.headers).toEqual(['Authorization', 'X-Tenant'])
  const read = await workspace.get(`/v1/webhooks/${made.body.id}`)
  for (const { text } of [made, read]) expect(text).not.toMatch(/inner-token|sealed/i)
  const [row] = await api.database.sql`select headers_sealed from webhooks where id = ${made.body.id}`
  const place = { purpose: 'webhook_headers', workspaceId: workspace.id, rowId: made.body.id } as const
  expect(JSON.parse(String(openSecret(row?.headers_sealed, place, api.masterKeys)))).toEqual(headers)
})

test('all that can be chosen is kept', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  const chosen = {
    name: 'All',
    url: 'https://tenant.test/hook?a=b',
    events: ['whatsapp.flows.init', 'whatsapp.flows.back'],
    active: false,
    flowIds: [flow.id],
    timeoutMs: 8000,
    fallback: { mode: 'static', reply: { screen: 'SORRY', data: { zebra: 1, apple: '\u0000' } } },
    format: 'plain',
    breaker: { mode: 'off' },
  }
  const { id } = await workspace.make('/v1/webhooks', chosen)
  expect((await workspace.get(`/v1/webhooks/${id}`)).body).toMatchObject(chosen)
})

test('the address guard is asked, and names the member', async () => {
  const answer = await workspace.post('/v1/webhooks', { ...webhookInput, url: 'http://tenant.test/canary' })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toEqual([{ path: 'url', message: 'must be https' }])
  expect(answer.text).not.toContain('canary')
})

test.each([
  ['no events', { events: [] }, 'events'],
  ['an event that is none', { events: ['whatsapp.flows.none'] }, 'events.0'],
  ['an event twice', { events: ['whatsapp.flows.init', 'whatsapp.flows.init'] }, 'events'],
  ['a timeout of 99 ms', { timeoutMs: 99 }, 'timeoutMs'],
  ['a timeout of 8001 ms', { timeoutMs: 8001 }, 'timeoutMs'],
  ['a timeout with a fraction', { timeoutMs: 500.5 }, 'timeoutMs'],
  ['an empty secret', { secret: '' }, 'secret'],
  ['a fallback without a mode', { fallback: {} }, 'fallback.mode'],
  ['a static fallback that is no reply', { fallback: { mode: 'static', reply: {} } }, 'fallback.reply'],
  [
    'a static fallback of too many bytes',
    { fallback: { mode: 'static', reply: { data: { text: 'x'.repeat(staticReplyBounds.bytes) } } } },
    'fallback.reply',
  ],
  ['an unknown member of a fallback', { fallback: { mode: 'last_good', reply: {} } }, 'fallback.reply'],
  ['no flows', { flowIds: [] }, 'flowIds'],
  ['an unknown breaker mode', { breaker: { mode: 'auto' } }, 'breaker.mode'],
  ['a reserved header', { headers: { 'webhook-id': 'x' } }, 'headers.webhook-id'],
])('400 for %s', async (_name, members, path) => {
  const answer = await workspace.post('/v1/webhooks', { ...webhookInput, ...members })
  expect(answer.status).toBe(400)
  expect(answer.body.errors).toMatchObject([{ path }])
})

test('a static fallback has a bound on its values; one from before it is shown and kept', async () => {
  const { bytes, values } = staticReplyBounds
  // `data`, the list, and what is in it.
  const fallbackOf = (items: number) => ({ mode: 'static', reply: { data: { list: Array(items).fill(0) } } })
  const atBound = fallbackOf(values - 2)
  const { id } = await workspace.make('/v1/webhooks', { ...webhookInput, fallback: atBound })
  const refused = await workspace.patch(`/v1/webhooks/${id}`, { fallback: fallbackOf(values - 1) })
  expect([refused.status, refused.body.errors]).toEqual([
    400,
    [{ path: 'fallback.reply', message: `must be at most ${bytes} bytes of JSON with ${values} values` }],
  ])
  expect((await workspace.get(`/v1/webhooks/${id}`)).body.fallback).toEqual(atBound)

  const old = fallbackOf(bytes)
  await api.database.sql`update webhooks set fallback = ${JSON.stringify(old)}::json where id = ${id}`
  expect((await workspace.get(`/v1/webhooks/${id}`)).body.fallback).toEqual(old)
  expect((await workspace.patch(`/v1/webhooks/${id}`, { name: 'Other' })).body.fallback).toEqual(old)
})

describe('PATCH', () => {
  test('changes each member alone, and empties what can be empty', async () => {
    const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
    const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
    const { secret: _secret, ...made } = await workspace.make('/v1/webhooks', {
      ...webhookInput,
      headers: { 'X-A': 'a' },
    })
    let expected = made
    const changes = [
      { name: 'Other' },
      { url: 'https://other.test/' },
      { events: ['whatsapp.flows.init'] },
      { active: false },
      { flowIds: [flow.id] },
      { timeoutMs: 150 },
      { fallback: { mode: 'last_good' } },
      { format: 'plain' },
      { breaker: { mode: 'off' } },
      { flowIds: null, timeoutMs: null, fallback: null },
      {},
    ]
    for (const change of changes) {
      const told = api.changed.length
      const answer = await workspace.patch(`/v1/webhooks/${made.id}`, change)
      expect(answer.status).toBe(200)
      expect(api.changed.slice(told)).toEqual([workspace.id])
      expected = { ...expected, ...change, updatedAt: answer.body.updatedAt }
      expect(answer.body).toEqual(expected)
      expect((await workspace.get(`/v1/webhooks/${made.id}`)).body).toEqual(expected)
    }
    expect(expected.headers).toEqual(['X-A'])
    expect(expected.updatedAt >= made.updatedAt).toBe(true)
  })

  test('headers are replaced as a whole, sealed for the same webhook', async () => {
    const { id } = await workspace.make('/v1/webhooks', { ...webhookInput, headers: { 'X-A': 'inner-a', 'X-B': 'b' } })
    const changed = await workspace.patch(`/v1/webhooks/${id}`, { headers: { 'X-C': 'inner-c' } })
    expect(changed.body.headers).toEqual(['X-C'])
    expect(changed.text).not.toContain('inner')
    const sealed = async () =>
      (await api.database.sql`select headers_sealed from webhooks where id = ${id}`)[0]?.headers_sealed
    const place = { purpose: 'webhook_headers', workspaceId: workspace.id, rowId: id } as const
    expect(JSON.parse(String(openSecret(await sealed(), place, api.masterKeys)))).toEqual({ 'X-C': 'inner-c' })
    expect((await workspace.patch(`/v1/webhooks/${id}`, { headers: null })).body.headers).toEqual([])
    expect(await sealed()).toBeNull()
  })

  test('400 for what a new webhook may not have either', async () => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    const bad = [
      [{ secret: '' }, 'secret'],
      [{ url: 'http://tenant.test/' }, 'url'],
      [{ name: null }, 'name'],
      [{ events: [] }, 'events'],
      [{ active: null }, 'active'],
      [{ format: null }, 'format'],
      [{ headers: { host: 'x' } }, 'headers.host'],
    ] as const
    for (const [change, path] of bad) {
      const answer = await workspace.patch(`/v1/webhooks/${id}`, change)
      expect(answer.status).toBe(400)
      expect(answer.body.errors).toMatchObject([{ path }])
      expect(answer.text).not.toContain('canary')
    }
  })
})

test('DELETE removes a webhook with its secrets; again it is not there', async () => {
  const { id } = await workspace.make('/v1/webhooks', webhookInput)
  const path = `/v1/webhooks/${id}`
  const told = api.changed.length
  const gone = await workspace.remove(path)
  expect(gone).toMatchObject({ status: 204, text: '' })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  expect(await api.database.sql`select 1 from webhook_secrets where webhook_id = ${id}`).toHaveLength(0)
  for (const answer of [
    await workspace.remove(path),
    await workspace.get(path),
    await workspace.patch(path, { name: 'x' }),
    await workspace.post(`${path}/rotate-secret`, {}),
    await workspace.post(`${path}/test`, {}),
  ]) {
    expect(answer.status).toBe(404)
  }
})

describe('rotate-secret', () => {
  const rotate = (id: string, body: Json = {}) => workspace.post(`/v1/webhooks/${id}/rotate-secret`, body)
  const secretsOf = async (webhookId: string) => {
    const rows = await api.database.sql`
      select id, signing_secret_sealed, expires_at from webhook_secrets where webhook_id = ${webhookId} order by id`
    return rows.map((row) => {
      const place = { purpose: 'webhook_secret', workspaceId: workspace.id, rowId: row.id } as const
      return [String(openSecret(row.signing_secret_sealed, place, api.masterKeys)), row.expires_at as Date | null]
    })
  }
  const inSeconds = (date: unknown) => ((date as Date).getTime() - Date.now()) / 1000

  test('makes a secret and shows it once; the old one ends after a day', async () => {
    const { secret: first, ...webhook } = await workspace.make('/v1/webhooks', webhookInput)
    const told = api.changed.length
    const { secret: second, ...rotated } = (await rotate(webhook.id)).body
    expect(second).toMatch(/^whsec_/)
    expect(second).not.toBe(first)
    expect(rotated).toEqual({ ...webhook, updatedAt: rotated.updatedAt })
    expect(api.changed.slice(told)).toEqual([workspace.id])
    expect((await workspace.get(`/v1/webhooks/${webhook.id}`)).text).not.toContain(second.slice(6))
    const [old, current] = await secretsOf(webhook.id)
    expect([old?.[0], current]).toEqual([first, [second, null]])
    expect(inSeconds(old?.[1])).toBeGreaterThan(86_300)
    expect(inSeconds(old?.[1])).toBeLessThanOrEqual(86_400)
  })

  test('twice inside the grace keeps both old ones, each with its own end', async () => {
    const { id } = await workspace.make('/v1/webhooks', { ...webhookInput, secret: 'one' })
    await rotate(id, { secret: 'two', graceSeconds: 1000 })
    await rotate(id, { secret: 'three', graceSeconds: 10 })
    const secrets = await secretsOf(id)
    expect(secrets.map(([secret]) => secret)).toEqual(['one', 'two', 'three'])
    expect(inSeconds(secrets[0]?.[1])).toBeGreaterThan(900)
    expect(inSeconds(secrets[1]?.[1])).toBeLessThan(11)
  })

  test('without grace the old one is destroyed at once; what has ended goes with the next rotation', async () => {
    const { id } = await workspace.make('/v1/webhooks', { ...webhookInput, secret: 'one' })
    await rotate(id, { secret: 'two', graceSeconds: 0 })
    expect(await secretsOf(id)).toEqual([['two', null]])
    await rotate(id, { secret: 'three', graceSeconds: 60 })
    await api.database
      .sql`update webhook_secrets set expires_at = now() where webhook_id = ${id} and expires_at is not null`
    await rotate(id, { secret: 'four', graceSeconds: 0 })
    expect(await secretsOf(id)).toEqual([['four', null]])
  })

  test('null ends the signing, a secret begins it', async () => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    expect((await rotate(id, { secret: null, graceSeconds: 0 })).body).toMatchObject({ secret: null, signed: false })
    expect(await secretsOf(id)).toEqual([])
    expect((await rotate(id, { secret: 'again' })).body).toMatchObject({ secret: 'again', signed: true })
    expect(await secretsOf(id)).toEqual([['again', null]])
  })

  test('409 when too many are in their grace period; without grace it always goes', async () => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    for (let i = 0; i < mostPreviousSecrets; i++) expect((await rotate(id)).status).toBe(200)
    const refused = await rotate(id, { secret: 'canary' })
    expect(refused).toMatchObject({ status: 409, body: { code: 'limit_reached' } })
    expect(await secretsOf(id)).toHaveLength(mostPreviousSecrets + 1)
    expect((await rotate(id, { graceSeconds: 0 })).status).toBe(200)
  })

  test('of many at once each takes its turn', async () => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    const answers = await Promise.all(Array.from({ length: 5 }, () => rotate(id)))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    const secrets = await secretsOf(id)
    expect(secrets).toHaveLength(6)
    expect(secrets.filter(([, expiresAt]) => expiresAt === null)).toHaveLength(1)
  })

  test.each([-1, 604_801, 1.5, '5', null])('400 for graceSeconds %s', async (graceSeconds) => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    expect((await rotate(id, { graceSeconds })).body.errors).toMatchObject([{ path: 'graceSeconds' }])
  })
})

describe('breakers', () => {
  const say = (webhookId: string, process: string, state: string, sinceSeconds: number, seenSeconds: number) =>
    api.database.sql`insert into webhook_breakers (workspace_id, webhook_id, process, state, since, seen_at)
      values (${workspace.id}, ${webhookId}, ${process}, ${state}, now() - ${sinceSeconds}::float8 * interval '1 second',
        now() - ${seenSeconds}::float8 * interval '1 second')`

  test('of the processes that live are shown, of dead ones not, and of other webhooks not', async () => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    const other = await workspace.make('/v1/webhooks', webhookInput)
    await say(id, '2-b', 'half_open', 3, 0)
    await say(id, '1-a', 'open', 60, 5)
    await say(id, '3-dead', 'open', 60, 21)
    const { breakers } = (await workspace.get(`/v1/webhooks/${id}`)).body
    expect(breakers).toEqual([
      { process: '1-a', state: 'open', since: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/) },
      { process: '2-b', state: 'half_open', since: expect.any(String) },
    ])
    expect(Date.parse(breakers[1].since) - Date.parse(breakers[0].since)).toBeGreaterThan(50_000)
    const list = (await workspace.get('/v1/webhooks')).body.data
    expect(list.find((it: Json) => it.id === id).breakers).toEqual(breakers)
    expect(list.find((it: Json) => it.id === other.id).breakers).toEqual([])
  })

  test('close-breaker has relays close theirs; what they said before it is not shown', async () => {
    const { id } = await workspace.make('/v1/webhooks', webhookInput)
    await say(id, '1-a', 'open', 3, 0)
    const told = api.changed.length
    const closed = await workspace.post(`/v1/webhooks/${id}/close-breaker`, undefined)
    expect(closed).toMatchObject({ status: 200, body: { id, breakers: [] } })
    expect(api.changed.slice(told)).toEqual([workspace.id])
    const [row] = await api.database.sql`select breaker_closed_at from webhooks where id = ${id}`
    expect(row?.breaker_closed_at).toBeInstanceOf(Date)
    await say(id, '2-b', 'open', -1, 0)
    expect((await workspace.get(`/v1/webhooks/${id}`)).body.breakers).toMatchObject([{ process: '2-b' }])
  })
})

test('409 for one more than a workspace may have', async () => {
  const full = await api.makeWorkspace()
  const { id } = await full.make('/v1/webhooks', webhookInput)
  await api.database.sql`
    insert into webhooks select (jsonb_populate_record(w, jsonb_build_object('id', 'wh_' || n))).*
    from webhooks w, generate_series(1, ${mostWebhooks - 2}) n where w.id = ${id}`
  expect((await full.post('/v1/webhooks', webhookInput)).status).toBe(201)
  expect(await full.post('/v1/webhooks', webhookInput)).toMatchObject({ status: 409, body: { code: 'limit_reached' } })
  await workspace.make('/v1/webhooks', webhookInput)
})
