import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FlowKeyMaker, mostMakesOfWorkspace } from '../../../src/api/flow-key-maker.ts'
import { FlowKeyReader } from '../../../src/api/flow-key-reader.ts'
import { newId } from '../../../src/domain/ids.ts'
import { mostActiveFlowKeys, mostRetiredFlowKeys } from '../../../src/storage/flow-keys.ts'
import { type Json, listen, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const spki = publicKey.export({ type: 'spki', format: 'pem' })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

async function makeWaba(): Promise<{ wabaId: string; path: string; first: Json }> {
  const { wabaId, flowKeys } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  return { wabaId, path: `/v1/wabas/${wabaId}/flow-keys`, first: flowKeys[0] }
}

test('a made key is active beside the older one, and the WABA shows the newest', async () => {
  const { wabaId, path, first } = await makeWaba()
  const told = api.changed.length
  const made = await workspace.post(path, {})
  expect(made.status).toBe(201)
  expect(made.body).toEqual({
    id: expect.stringMatching(/^fk_/),
    fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    status: 'active',
    publicKey: expect.stringMatching(/^-----BEGIN PUBLIC KEY-----\n/),
    createdAt: expect.any(String),
    updatedAt: made.body.createdAt,
  })
  expect(createPublicKey(made.body.publicKey).asymmetricKeyDetails?.modulusLength).toBe(2048)
  expect(api.changed.slice(told)).toEqual([workspace.id])
  const listed = await workspace.get(path)
  expect(listed.body.data).toMatchObject([made.body, first])
  const waba = (await workspace.get(`/v1/wabas/${wabaId}`)).body
  expect(waba.publicKey).toBe(made.body.publicKey)
  expect(waba.flowKeys).toHaveLength(2)
})

test('an imported key, encrypted or not, is the pair that was given', async () => {
  const encrypted = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'inner-pass' })
  for (const body of [{ privateKey: pem }, { privateKey: encrypted, passphrase: 'inner-pass' }]) {
    const { path } = await makeWaba()
    const made = await workspace.post(path, body)
    expect(made.body.publicKey).toBe(spki)
    for (const { text } of [made, await workspace.get(path)]) expect(text).not.toMatch(/PRIVATE|inner-pass|sealed/i)
  }
})

test('while an encrypted key is read, other calls are answered; a wrong passphrase is told before what is not there', async () => {
  const reading = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  class HeldReader extends FlowKeyReader {
    override async read(text: string, passphrase: string) {
      reading.resolve()
      await goOn.promise
      return super.read(text, passphrase)
    }
  }
  const held = await listen({ database: api.database, flowKeyReader: new HeldReader() })
  try {
    const encrypted = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'right' })
    const body = { privateKey: encrypted, passphrase: 'wrong' }
    const imported = held.call('POST', '/v1/wabas/1/flow-keys', { token: workspace.apiKey, body })
    await reading.promise
    expect((await held.call('GET', '/v1/wabas', { token: workspace.apiKey })).status).toBe(200)
    goOn.resolve()
    const { status, body: problem } = await imported
    expect([status, problem.errors[0].path]).toEqual([400, 'privateKey'])
  } finally {
    await held.close()
  }
})

test('400 for a key that cannot be read, without a trace of it', async () => {
  const { path } = await makeWaba()
  const bad = [
    [{ privateKey: 'canary' }, 'privateKey'],
    [{ privateKey: spki }, 'privateKey'],
    [{ passphrase: 'canary' }, 'passphrase'],
  ] as const
  for (const [body, member] of bad) {
    const answer = await workspace.post(path, body)
    expect(answer.body.errors).toMatchObject([{ path: member }])
    expect(answer.text).not.toContain('canary')
  }
})

test('409 for a pair that is active already; a retired one can come back', async () => {
  const { path } = await makeWaba()
  const { id } = await workspace.make(path, { privateKey: pem })
  expect(await workspace.post(path, { privateKey: pem })).toMatchObject({
    status: 409,
    body: { code: 'already_exists' },
  })
  await workspace.remove(`${path}/${id}`)
  expect((await workspace.post(path, { privateKey: pem })).status).toBe(201)
})

test('retiring destroys the private half and keeps the rest', async () => {
  const { wabaId, path, first } = await makeWaba()
  const second = await workspace.make(path, {})
  const told = api.changed.length
  expect(await workspace.remove(`${path}/${first.id}`)).toMatchObject({ status: 204, text: '' })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  const rows = await api.database.sql`select id, private_key_sealed from flow_keys where waba_id = ${wabaId}`
  expect(rows.find((row) => row.id === first.id)?.private_key_sealed).toBeNull()
  expect(rows.find((row) => row.id === second.id)?.private_key_sealed).not.toBeNull()
  const listed = (await workspace.get(path)).body.data
  expect(listed.map((flowKey: Json) => [flowKey.id, flowKey.status])).toEqual([
    [second.id, 'active'],
    [first.id, 'retired'],
  ])
  expect((await workspace.remove(`${path}/${first.id}`)).status).toBe(404)
})

test('409 for the last active one, however many try to be the last but one', async () => {
  const { path, first } = await makeWaba()
  const refused = await workspace.remove(`${path}/${first.id}`)
  expect(refused).toMatchObject({ status: 409, body: { code: 'last_flow_key' } })
  const ids = [first.id, ...(await Promise.all([1, 2, 3].map(async () => (await workspace.make(path, {})).id)))]
  const answers = await Promise.all(ids.map((id) => workspace.remove(`${path}/${id}`)))
  expect(answers.map(({ status }) => status).toSorted()).toEqual([204, 204, 204, 409])
  const active = (await workspace.get(path)).body.data.filter((flowKey: Json) => flowKey.status === 'active')
  expect(active).toHaveLength(1)
})

test('409 past the number that is tried on every call; retired ones do not count', async () => {
  const { path, first } = await makeWaba()
  for (let i = 1; i < mostActiveFlowKeys; i++) await workspace.make(path, {})
  expect((await workspace.post(path, {})).body.code).toBe('limit_reached')
  await workspace.remove(`${path}/${first.id}`)
  expect((await workspace.post(path, {})).status).toBe(201)
})

test('no key is made for a call that is refused; too many at once get 429, which is not kept', async () => {
  const { wabaId, path } = await makeWaba()
  for (let i = 1; i < mostActiveFlowKeys; i++) await workspace.make(path, {})
  const { path: withRoom } = await makeWaba()
  let begun = 0
  const made = Promise.withResolvers<typeof privateKey>()
  const flowKeyMaker = new FlowKeyMaker(() => {
    begun++
    return made.promise
  })
  const held = await listen({ database: api.database, flowKeyMaker })
  try {
    const post = (route: string, body: Json, headers = {}) =>
      held.call('POST', route, { token: workspace.apiKey, body, headers })
    expect((await post(path, {})).body.code).toBe('limit_reached')
    expect((await post('/v1/wabas', { wabaId })).body.code).toBe('waba_taken')
    expect(begun).toBe(0)

    const waiting = Array.from({ length: mostMakesOfWorkspace }, () => flowKeyMaker.make(workspace.id, async () => {}))
    const headers = { 'Idempotency-Key': nextNumber() }
    const refused = await post(withRoom, {}, headers)
    expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([429, 'rate_limited', '1'])
    made.resolve(privateKey)
    await Promise.all(waiting)
    expect((await post(withRoom, {}, headers)).status).toBe(201)
  } finally {
    await held.close()
  }
})

test('the latest hundred that were retired are kept', async () => {
  const { wabaId, path, first } = await makeWaba()
  const other = await makeWaba()
  await api.database.sql`
    insert into flow_keys (workspace_id, id, waba_id, status, public_key, fingerprint, updated_at)
    select workspace_id, 'fk_' || left(md5(waba_id || i), 26), waba_id, 'retired', public_key, fingerprint, now() - make_interval(mins => i)
    from flow_keys, generate_series(1, 100) i where waba_id in (${wabaId}, ${other.wabaId}) and (waba_id = ${wabaId} or i < 3)`
  const second = await workspace.make(path, {})
  await workspace.remove(`${path}/${first.id}`)
  const { flowKeys } = (await workspace.get(`/v1/wabas/${wabaId}`)).body
  expect(flowKeys).toHaveLength(mostRetiredFlowKeys + 1)
  const ids = flowKeys.map(({ id }: Json) => id)
  expect(ids).toEqual(expect.arrayContaining([first.id, second.id]))
  const [oldest] = await api.database.sql`
    select count(*)::int as n from flow_keys where waba_id = ${wabaId} and updated_at < now() - interval '99 minutes 30 seconds'`
  expect(oldest?.n).toBe(0)
  expect((await workspace.get(`/v1/wabas/${other.wabaId}`)).body.flowKeys).toHaveLength(3)
})

test('404 under another WABA and in another workspace', async () => {
  const mine = await makeWaba()
  const other = await makeWaba()
  await workspace.make(mine.path, {})
  expect((await workspace.remove(`${other.path}/${mine.first.id}`)).status).toBe(404)
  expect((await workspace.remove(`${mine.path}/${newId('flowKey')}`)).status).toBe(404)
  const stranger = await api.makeWorkspace()
  expect((await stranger.remove(`${mine.path}/${mine.first.id}`)).status).toBe(404)
  expect((await stranger.get(mine.path)).status).toBe(404)
  expect((await stranger.post(mine.path, {})).status).toBe(404)
})
