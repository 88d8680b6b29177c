import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { SentAnswer } from '../../../src/api/answer.ts'
import { type KeyedCall, once } from '../../../src/api/idempotency.ts'
import { openDatabase } from '../../../src/storage/database.ts'
import { claimCall, prolongClaim, sweepCalls } from '../../../src/storage/idempotency.ts'
import { carryOutAndHang, type FakeGraph, startGraph } from '../../support/graph.ts'
import { connectGraph } from '../../support/graph-client.ts'
import { waitForLocks } from '../../support/locks.ts'
import { insertDelivery } from '../../support/log-rows.ts'
import { startProxy } from '../../support/tcp-proxy.ts'
import { adminToken, goodAttempt, type Json, listen, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { insertExchange, nextNumber, nextPhoneNumber, webhookInput } from './samples.ts'

let api: TestApi
let graph: FakeGraph
let graphClient: ReturnType<typeof connectGraph>
let workspace: TestWorkspace
let webhookId: string
/** What `POST …/test` awaits: a handler that tests hold open. */
let attempts: (() => Promise<typeof goodAttempt>)[]
let attempted = 0

beforeAll(async () => {
  graph = await startGraph({ knowsEveryId: true })
  graphClient = connectGraph(graph.url, { timeoutMs: 100 })
  const attempt = () => {
    attempted++
    return attempts.shift()?.() ?? Promise.resolve(goodAttempt)
  }
  api = await startApi({ graph: graphClient, attempt })
  workspace = await api.makeWorkspace()
  webhookId = (await workspace.make('/v1/webhooks', webhookInput)).id
})
beforeEach(() => {
  attempts = []
  attempted = 0
})
afterAll(async () => {
  await api.close()
  await graphClient.close()
  await graph.close()
})

let keys = 0
const freshKey = () => `key ${++keys} of this test`

interface Keyed {
  readonly token?: string
  readonly headers?: Record<string, string>
}

function post(path: string, body: unknown, idempotencyKey: string, { token = workspace.apiKey, headers }: Keyed = {}) {
  return api.call('POST', path, { token, body, headers: { 'Idempotency-Key': idempotencyKey, ...headers } })
}

const testWebhook = (idempotencyKey: string, keyed?: Keyed) =>
  post(`/v1/webhooks/${webhookId}/test`, {}, idempotencyKey, keyed)

test('the same call again gets the same answer and is not made again', async () => {
  const key = freshKey()
  const first = await post('/v1/webhooks', webhookInput, key)
  expect(first.status).toBe(201)
  expect(first.headers.get('idempotent-replayed')).toBeNull()
  const { name, url, events } = webhookInput
  for (const body of [webhookInput, { events, url, name }]) {
    const again = await post('/v1/webhooks', body, key)
    expect(again.status).toBe(201)
    expect(again.text).toBe(first.text)
    expect(again.headers.get('content-type')).toBe(first.headers.get('content-type'))
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  }
  const { body: list } = await workspace.get('/v1/webhooks?limit=100')
  expect(list.data.filter(({ id }: Json) => id === first.body.id)).toHaveLength(1)
  expect((await post('/v1/webhooks', webhookInput, freshKey())).body.id).not.toBe(first.body.id)
})

test('the answer is kept sealed: the secret it shows is not in the table', async () => {
  const { body } = await post('/v1/webhooks', webhookInput, freshKey())
  const rows = JSON.stringify(await api.database.orm.execute(sql`select *, answer_sealed::text from idempotent_calls`))
  expect(body.secret).toMatch(/^whsec_/)
  expect(rows).toContain(workspace.id)
  for (const plain of [body.secret, body.id, Buffer.from(body.secret).toString('hex')])
    expect(rows).not.toContain(plain)
})

test('another body under the same key: 409, and the first answer stays', async () => {
  const key = freshKey()
  const first = await post('/v1/clients', { phoneNumber: nextPhoneNumber() }, key)
  const other = await post('/v1/clients', { phoneNumber: nextPhoneNumber() }, key)
  expect(other.status).toBe(409)
  expect(other.body.code).toBe('idempotency_mismatch')
  expect((await post('/v1/clients', { phoneNumber: first.body.phoneNumber }, key)).text).toBe(first.text)
})

test('concurrent twins: one is made, the others wait for it and get its answer', async () => {
  const gate = Promise.withResolvers<typeof goodAttempt>()
  attempts = [() => gate.promise]
  const key = freshKey()
  const twins = [testWebhook(key), testWebhook(key), testWebhook(key)]
  await expect.poll(() => attempted).toBe(1)
  // A twin with another body is told at once.
  expect((await post(`/v1/webhooks/${webhookId}/test`, { event: 'whatsapp.flows.init' }, key)).status).toBe(409)
  gate.resolve({ ...goodAttempt, durationMs: 77 })
  const answers = await Promise.all(twins)
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  expect(answers[0]?.body.attempt.durationMs).toBe(77)
  expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(2)
  expect(attempted).toBe(1)
})

const answer = (json: string): SentAnswer => ({ status: 200, headers: {}, json })

function keyedCall(idempotencyKey: string): KeyedCall {
  return { workspaceId: workspace.id, actor: 'key_x', route: ['POST', '/x'], idempotencyKey, query: {}, body: {} }
}

const makeOnce = (call: KeyedCall, run: () => Promise<SentAnswer>, patienceMs?: number) => {
  const deps = { database: api.database, masterKeys: api.masterKeys, reportError: () => expect.unreachable() }
  return once(deps, call, async () => ({ answer: await run(), repetition: 'answered' as const }), patienceMs)
}

test('a twin does not wait for ever: 409', async () => {
  const gate = Promise.withResolvers<SentAnswer>()
  const call = keyedCall(freshKey())
  let hasBegun = false
  const first = makeOnce(call, () => {
    hasBegun = true
    return gate.promise
  })
  await expect.poll(() => hasBegun).toBe(true)
  await expect(makeOnce(call, expect.unreachable, 100)).rejects.toMatchObject({ code: 'idempotency_in_progress' })
  gate.resolve(answer('"first"'))
  expect((await first).json).toBe('"first"')
  expect((await makeOnce(call, expect.unreachable)).json).toBe('"first"')
})

test('an answer that could not be kept at once is kept as soon as it can be', async () => {
  let isAway = false
  const reported: unknown[] = []
  const database = {
    get orm() {
      if (isAway) throw new Error('the database is away')
      return api.database.orm
    },
  } as unknown as typeof api.database
  const deps = { database, masterKeys: api.masterKeys, reportError: (error: unknown) => void reported.push(error) }
  const call = keyedCall(freshKey())
  const run = async () => {
    isAway = true
    return { answer: answer('"first"'), repetition: 'answered' as const }
  }
  expect((await once(deps, call, run)).json).toBe('"first"')
  isAway = false
  expect((await makeOnce(call, expect.unreachable)).json).toBe('"first"')
  expect(reported).toHaveLength(1)
})

async function move(column: 'started_at' | 'expires_at', by: string): Promise<void> {
  const moved = sql`${sql.identifier(column)} = ${sql.identifier(column)} - ${by}::interval`
  await api.database.orm.execute(sql`update idempotent_calls set ${moved}`)
}

test('a first call that died frees its key after 60 s; should it live after all, it changes nothing', async () => {
  const gate = Promise.withResolvers<typeof goodAttempt>()
  attempts = [() => gate.promise]
  const key = freshKey()
  const dead = testWebhook(key)
  await expect.poll(() => attempted).toBe(1)
  await move('started_at', '59 seconds')
  const place = (await api.database.orm.execute(
    sql`select workspace_id, call_digest, body_digest from idempotent_calls where status is null`,
  )) as unknown as { call_digest: Buffer; body_digest: Buffer }[]
  const [row] = place
  if (row === undefined) throw new Error('there is no running call')
  const at = { workspaceId: workspace.id, callDigest: row.call_digest }
  expect((await claimCall(api.database, at, row.body_digest)).kind).toBe('running')
  await move('started_at', '1 second')

  const second = await testWebhook(key)
  expect(second.status).toBe(200)
  expect(attempted).toBe(2)
  gate.resolve({ ...goodAttempt, durationMs: 99 })
  expect((await dead).body.attempt.durationMs).toBe(99)
  expect((await testWebhook(key)).text).toBe(second.text)
  expect(attempted).toBe(2)
})

test('a long call keeps its key by signs of life', async () => {
  const place = { workspaceId: workspace.id, callDigest: Buffer.alloc(32, 1) }
  const body = Buffer.alloc(32, 2)
  const state = await claimCall(api.database, place, body)
  if (state.kind !== 'claimed') throw new Error(state.kind)
  await move('started_at', '61 seconds')
  const aged = { startedAt: new Date(state.claim.startedAt.getTime() - 61_000) }
  expect(await prolongClaim(api.database, place, state.claim)).toBeNull()
  const prolonged = await prolongClaim(api.database, place, aged)
  expect(prolonged?.startedAt.getTime()).toBeGreaterThan(aged.startedAt.getTime())
  expect((await claimCall(api.database, place, body)).kind).toBe('running')
})

test('two callers with the same key do not meet, nor do two routes', async () => {
  const key = freshKey()
  const otherKey = await api.makeApiKey(workspace.id, ['write'])
  const stranger = await api.makeWorkspace()
  const body = { phoneNumber: nextPhoneNumber() }
  const asOperator = { token: adminToken, headers: { 'X-Workspace-Id': workspace.id } }
  expect((await post('/v1/clients', body, key)).status).toBe(201)
  // Upserts that find the client: had they met the first call, it would be its 201.
  expect((await post('/v1/clients', body, key, { token: otherKey })).status).toBe(200)
  expect((await post('/v1/clients', body, key, asOperator)).status).toBe(200)
  expect((await post('/v1/clients', { ...body, name: 'other' }, key, { token: stranger.apiKey })).status).toBe(201)

  const second = (await workspace.make('/v1/webhooks', webhookInput)).id
  expect((await testWebhook(key)).status).toBe(200)
  expect((await post(`/v1/webhooks/${second}/test`, {}, key)).headers.get('idempotent-replayed')).toBeNull()
  expect(attempted).toBe(2)
  const made = await post('/v1/workspaces', { name: 'a' }, key, { token: adminToken })
  expect(made.status).toBe(201)
  expect((await post('/v1/workspaces', { name: 'a' }, key, { token: adminToken })).body.id).toBe(made.body.id)
})

test('what is refused before the operation does not use the key up; what the operation refuses does', async () => {
  const key = freshKey()
  const phoneNumber = nextPhoneNumber()
  expect((await post('/v1/clients', { phoneNumber, surprise: 1 }, key)).status).toBe(400)
  expect((await post('/v1/clients', { phoneNumber }, key)).status).toBe(201)

  const wabaId = nextNumber()
  const channel = { wabaId, phoneNumberId: nextNumber(), phoneNumber }
  const channelKey = freshKey()
  const first = await post('/v1/channels', channel, channelKey)
  expect(first.status).toBe(404)
  await workspace.make('/v1/wabas', { wabaId })
  const again = await post('/v1/channels', channel, channelKey)
  expect(again.text).toBe(first.text)
  expect(again.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
  expect((await post('/v1/channels', channel, freshKey())).status).toBe(201)
})

test('a failure inside Relevo frees the key at once', async () => {
  const key = freshKey()
  attempts = [() => Promise.reject(new Error('on purpose'))]
  expect((await testWebhook(key)).status).toBe(500)
  expect((await testWebhook(key)).status).toBe(200)
  expect(attempted).toBe(2)
})

test('a change that may still be carried out holds its key as a call does that died', async () => {
  const proxy = await startProxy(api.database.directUrl)
  const database = openDatabase({ url: proxy.url, prepare: true })
  const behind = await listen({ database })
  const wabaId = nextNumber()
  await workspace.make('/v1/wabas', { wabaId })
  const body = { wabaId, phoneNumberId: nextNumber(), phoneNumber: nextPhoneNumber() }
  const headers = { 'Idempotency-Key': freshKey() }
  // One statement without a transaction around it: carried out though nobody hears of it.
  const change = () => behind.call('POST', '/v1/channels', { token: workspace.apiKey, body, headers })
  const underWay = async () => {
    const [row] = await api.database.sql`select count(*)::int as n from idempotent_calls where status is null`
    return row?.n as number
  }
  try {
    const before = await underWay()
    await api.database.sql.begin(async (tx) => {
      await tx`select 1 from wabas where waba_id = ${wabaId} for update`
      const first = change()
      await waitForLocks(api.database.sql, 1)
      proxy.fault({ toClient: { kind: 'truncate', afterBytes: 0 } }, 'live')
      expect(await first).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    })
    await expect
      .poll(async () => (await workspace.get('/v1/channels')).body.data)
      .toContainEqual(expect.objectContaining(body))
    expect(await underWay()).toBe(before + 1)
    await move('started_at', '60 seconds')
    expect((await change()).body.code).toBe('already_exists')
  } finally {
    await behind.close()
    await database.close()
    await proxy.close()
  }
})

test('a message that Meta may have sent is not sent twice', async () => {
  const wabaId = nextNumber()
  await workspace.make('/v1/wabas', { wabaId, accessToken: 'a-token' })
  await workspace.make('/v1/channels', { wabaId, phoneNumberId: nextNumber(), phoneNumber: nextPhoneNumber() })
  const { id } = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  graph.next('POST /:id/messages', carryOutAndHang())
  const key = freshKey()
  const body = { phoneNumber: nextPhoneNumber(), body: 'b', cta: 'c' }
  const first = await post(`/v1/flows/${id}/messages`, body, key)
  expect(first.status).toBe(504)
  expect(first.body.sendStatus).toBe('unknown')
  const again = await post(`/v1/flows/${id}/messages`, body, key)
  expect(again.text).toBe(first.text)
  expect(graph.callsOf('POST /:id/messages')).toHaveLength(1)
})

test('after 24 h the key is new, and old answers are swept away', async () => {
  const key = freshKey()
  const first = await testWebhook(key)
  await move('expires_at', '23 hours 59 minutes')
  expect((await testWebhook(key)).text).toBe(first.text)
  await move('expires_at', '1 minute')
  const second = await testWebhook(key)
  expect(second.text).not.toBe(first.text)
  expect(await sweepCalls(api.database)).toBeGreaterThan(5)
  expect(await sweepCalls(api.database)).toBe(0)
  expect((await testWebhook(key)).text).toBe(second.text)
})

test('an answer that no master key opens is not made up, and the call is not made again', async () => {
  const key = freshKey()
  await testWebhook(key)
  await api.database.orm.execute(sql`update idempotent_calls set answer_sealed = 'x' where answer_sealed is not null`)
  expect((await testWebhook(key)).status).toBe(500)
  expect(attempted).toBe(1)
})

test('other methods take no notice of the header', async () => {
  const { id } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const headers = { 'Idempotency-Key': freshKey() }
  const send = (method: string, body?: unknown) =>
    api.call(method, `/v1/clients/${id}`, { token: workspace.apiKey, headers, body })
  expect((await send('PATCH', { name: 'a' })).body.name).toBe('a')
  expect((await send('PATCH', { name: 'b' })).body.name).toBe('b')
  expect((await send('DELETE')).status).toBe(204)
  expect((await send('DELETE')).status).toBe(404)
})

/** The id of one that can be sent. */
async function makeFlow(): Promise<string> {
  const wabaId = nextNumber()
  await workspace.make('/v1/wabas', { wabaId, accessToken: 'a-token' })
  await workspace.make('/v1/channels', { wabaId, phoneNumberId: nextNumber(), phoneNumber: nextPhoneNumber() })
  return (await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })).id
}

async function keyedAnswers(): Promise<number> {
  const [row] = await api.database.orm.execute<{ n: number }>(sql`select count(*)::int as n from idempotent_calls`)
  return row?.n ?? Number.NaN
}

test('an expunge takes every kept answer that tells of the person, and no other', async () => {
  const flowId = await makeFlow()
  const phoneNumber = nextPhoneNumber()
  const called: { path: string; body: object; key: string; text: string }[] = []
  const keyed = async (path: string, body: object): Promise<Json> => {
    const key = freshKey()
    const made = await post(path, body, key)
    expect([200, 201, 504]).toContain(made.status)
    called.push({ path, body, key, text: made.text })
    return made.body
  }
  const { id: clientId } = await keyed('/v1/clients', { phoneNumber })
  const { id: conversationId } = await keyed('/v1/conversations', { clientId })
  await keyed('/v1/flow-responses', { flowToken: `of-client ${nextNumber()}`, clientId })
  // Named by the conversation alone, and told later whose it is.
  await keyed('/v1/flow-responses', { flowToken: `of-conversation ${nextNumber()}`, conversationId })
  const later = await keyed('/v1/flow-responses', { flowToken: `linked-later ${nextNumber()}` })
  await workspace.patch(`/v1/flow-responses/${later.id}`, { clientId })
  // Theirs when it was answered, somebody else's since.
  const once = await keyed('/v1/flow-responses', { flowToken: `linked-before ${nextNumber()}`, clientId })
  const other = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
  await workspace.patch(`/v1/flow-responses/${once.id}`, { clientId: other.id })
  await keyed(`/v1/flows/${flowId}/messages`, { phoneNumber, body: 'b', cta: 'c' })
  graph.next('POST /:id/messages', carryOutAndHang())
  await keyed(`/v1/flows/${flowId}/messages`, { clientId, body: 'b', cta: 'c' })
  for (const whose of [{ clientId }, { flowToken: later.flowToken }]) {
    const id = await insertDelivery(api.database.sql, workspace.id, { ...whose, webhookId })
    await keyed(`/v1/deliveries/${id}/redeliver`, {})
  }
  const ofOthers = called.length
  await keyed('/v1/clients', { phoneNumber: nextPhoneNumber() })
  await keyed('/v1/flow-responses', { flowToken: `of-another ${nextNumber()}`, clientId: other.id })
  await keyed('/v1/webhooks', webhookInput)
  for (const { path, body, key, text } of called) expect((await post(path, body, key)).text).toBe(text)

  const kept = await keyedAnswers()
  expect((await workspace.remove(`/v1/clients/${clientId}`)).status).toBe(204)
  expect(await keyedAnswers()).toBe(kept - ofOthers)
  for (const [n, { path, body, key, text }] of called.entries()) {
    const again = await post(path, body, key)
    expect(again.headers.get('idempotent-replayed'), path).toBe(n < ofOthers ? null : 'true')
    if (n >= ofOthers) expect(again.text).toBe(text)
  }
})

test('a call that is under way during an expunge leaves no answer that tells of the person', async () => {
  for (const whose of ['clientId', 'flowToken'] as const) {
    const { id: clientId } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
    const flowToken = `expunged ${nextNumber()}`
    await workspace.make('/v1/flow-responses', { flowToken, clientId })
    const call = keyedCall(freshKey())
    const told = { clientId, flowToken }
    const first = await makeOnce(call, async () => {
      await workspace.remove(`/v1/clients/${clientId}`)
      return answer(JSON.stringify({ [whose]: told[whose] }))
    })
    expect(JSON.parse(first.json ?? '')).toEqual({ [whose]: told[whose] })
    expect((await makeOnce(call, async () => answer('"anew"'))).json).toBe('"anew"')
  }
})

test('an answer waits for an expunge that is under way', async () => {
  for (const whose of ['clientId', 'flowToken'] as const) {
    const { id: clientId } = await workspace.make('/v1/clients', { phoneNumber: nextPhoneNumber() })
    const flowToken = `expunged ${nextNumber()}`
    await workspace.make('/v1/flow-responses', { flowToken, clientId })
    const exchangeId = await insertExchange(api, workspace, { clientId })
    const told = { clientId, flowToken }
    const call = keyedCall(freshKey())
    let expunge: Promise<unknown> = Promise.resolve()
    let kept: Promise<SentAnswer> = Promise.resolve(answer(''))
    // Somebody writes to a row of theirs: the expunge has begun, and waits for it.
    await api.database.sql.begin(async (tx) => {
      await tx`select 1 from exchanges where id = ${exchangeId} for update`
      expunge = workspace.remove(`/v1/clients/${clientId}`)
      await waitForLocks(api.database.sql, 1)
      kept = makeOnce(call, async () => answer(JSON.stringify({ [whose]: told[whose] })))
      await waitForLocks(api.database.sql, 2)
    })
    await Promise.all([expunge, kept])
    expect((await makeOnce(call, async () => answer('"anew"'))).json).toBe('"anew"')
  }
})
