import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openSecret, type SecretPlace } from '../../../src/crypto/sealed-secret.ts'
import { newId } from '../../../src/domain/ids.ts'
import { mostWabas } from '../../../src/storage/wabas.ts'
import { adminToken, type Json, publicUrl, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { channelInput, insertExchange, nextNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const spki = (pem: string) => createPublicKey(pem).export({ type: 'spki', format: 'pem' })

async function reveal(sealed: Buffer, purpose: SecretPlace['purpose'], rowId: string): Promise<Buffer | null> {
  return openSecret(sealed, { purpose, workspaceId: workspace.id, rowId }, api.masterKeys)
}

test('makes a key pair, and says where Meta should call', async () => {
  const wabaId = nextNumber()
  const told = api.changed.length
  const waba = await workspace.make('/v1/wabas', { wabaId })
  expect(waba).toEqual({
    wabaId,
    workspaceId: workspace.id,
    name: null,
    endpointUri: `${publicUrl}/api/whatsapp/flows/${wabaId}/data`,
    publicKey: expect.stringMatching(/^-----BEGIN PUBLIC KEY-----\n/),
    verification: 'unverified',
    verified: false,
    hasAccessToken: false,
    hasVerifyToken: false,
    requireTokenSignature: false,
    appSecrets: [],
    flowKeys: [
      {
        id: expect.stringMatching(/^fk_/),
        fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
        status: 'active',
        createdAt: waba.createdAt,
      },
    ],
    createdAt: expect.any(String),
    updatedAt: waba.createdAt,
  })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  expect((await workspace.get(`/v1/wabas/${wabaId}`)).body).toEqual(waba)
  expect(createPublicKey(waba.publicKey).asymmetricKeyDetails?.modulusLength).toBe(2048)
})

test('secrets are sealed for their rows and never come back', async () => {
  const wabaId = nextNumber()
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const body = {
    wabaId,
    name: 'Shop',
    appSecrets: ['first-app-secret', 'second-app-secret'],
    accessToken: 'graph-token',
    privateKey: pem,
  }
  const made = await workspace.post('/v1/wabas', body)
  expect(made.status).toBe(201)
  const read = await workspace.get(`/v1/wabas/${wabaId}`)
  const listed = await workspace.get('/v1/wabas')
  for (const { text } of [made, read, listed]) expect(text).not.toMatch(/app-secret|graph-token|PRIVATE KEY|sealed/i)
  expect(made.body).toMatchObject({ name: 'Shop', hasAccessToken: true, publicKey: spki(pem) })
  expect(made.body.appSecrets).toHaveLength(2)

  const { sql } = api.database
  const secrets = await sql`select id, app_secret_sealed from app_secrets where waba_id = ${wabaId} order by id`
  const opened = await Promise.all(secrets.map((row) => reveal(row.app_secret_sealed, 'app_secret', row.id)))
  expect(opened.map(String)).toEqual(['first-app-secret', 'second-app-secret'])
  const [waba] = await sql`select access_token_sealed from wabas where waba_id = ${wabaId}`
  expect(String(await reveal(waba?.access_token_sealed, 'access_token', wabaId))).toBe('graph-token')
  const [flowKey] = await sql`select id, private_key_sealed from flow_keys where waba_id = ${wabaId}`
  const der = await reveal(flowKey?.private_key_sealed, 'flow_key', flowKey?.id)
  expect(createPrivateKey({ key: der ?? '', format: 'der', type: 'pkcs8' }).equals(privateKey)).toBe(true)
})

test('takes PKCS#1 and encrypted keys', async () => {
  const pkcs1 = privateKey.export({ type: 'pkcs1', format: 'pem' })
  const encrypted = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open' })
  const first = await workspace.make('/v1/wabas', { wabaId: nextNumber(), privateKey: pkcs1 })
  const second = await workspace.make('/v1/wabas', { wabaId: nextNumber(), privateKey: encrypted, passphrase: 'open' })
  expect(second.publicKey).toBe(first.publicKey)
  expect(second.flowKeys[0].fingerprint).toBe(first.flowKeys[0].fingerprint)
})

test('400 names the key that cannot be read, and shows nothing of it', async () => {
  const encrypted = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open' })
  const bad = [
    [{ privateKey: 'canary' }, 'privateKey'],
    [{ privateKey: encrypted }, 'privateKey'],
    [{ privateKey: encrypted, passphrase: 'canary' }, 'privateKey'],
    [{ passphrase: 'canary' }, 'passphrase'],
  ] as const
  for (const [members, path] of bad) {
    const answer = await workspace.post('/v1/wabas', { wabaId: nextNumber(), ...members })
    expect(answer.status).toBe(400)
    expect(answer.body.errors).toMatchObject([{ path }])
    expect(answer.text).not.toContain('canary')
  }
})

test('409 for an id that is taken, in whichever workspace, and nothing is left of the attempt', async () => {
  const wabaId = nextNumber()
  await workspace.make('/v1/wabas', { wabaId })
  const other = await api.makeWorkspace()
  for (const claimant of [workspace, other]) {
    const answer = await claimant.post('/v1/wabas', { wabaId, appSecrets: ['x'] })
    expect(answer.status).toBe(409)
    expect(answer.body.code).toBe('waba_taken')
  }
  expect((await other.get('/v1/wabas')).body.data).toEqual([])
  expect((await workspace.get(`/v1/wabas/${wabaId}`)).body.appSecrets).toEqual([])
})

test('409 for one more than a workspace may have; its id stays free', async () => {
  const full = await api.makeWorkspace()
  const { wabaId } = await full.make('/v1/wabas', { wabaId: nextNumber() })
  await api.database.sql`
    insert into wabas select (jsonb_populate_record(w, jsonb_build_object('waba_id', 'full-' || n))).*
    from wabas w, generate_series(1, ${mostWabas - 1}) n where w.waba_id = ${wabaId}`
  const beyond = nextNumber()
  const refused = await full.post('/v1/wabas', { wabaId: beyond })
  expect(refused).toMatchObject({ status: 409, body: { code: 'limit_reached' } })
  expect((await full.patch(`/v1/wabas/${wabaId}`, { name: 'Other' })).status).toBe(200)
  await workspace.make('/v1/wabas', { wabaId: beyond })
})

test('of many claims at once, one wins', async () => {
  const wabaId = nextNumber()
  const other = await api.makeWorkspace()
  const claims = [workspace, other, workspace, other].map((claimant) => claimant.post('/v1/wabas', { wabaId }))
  const statuses = (await Promise.all(claims)).map((answer) => answer.status)
  expect(statuses.toSorted()).toEqual([201, 409, 409, 409])
})

test('what the operator makes is verified', async () => {
  const headers = { 'X-Workspace-Id': workspace.id }
  const made = await api.call('POST', '/v1/wabas', { token: adminToken, body: { wabaId: nextNumber() }, headers })
  expect(made.body.verification).toBe('verified')
})

const operate = (method: string, path: string, body?: unknown, workspaceId: string = workspace.id) =>
  api.call(method, path, { token: adminToken, body, headers: { 'X-Workspace-Id': workspaceId } })

describe('PATCH', () => {
  test('changes each member alone; secrets are sealed for their rows and never come back', async () => {
    const made = await workspace.make('/v1/wabas', { wabaId: nextNumber(), accessToken: 'inner-graph-token' })
    const path = `/v1/wabas/${made.wabaId}`
    let expected = made
    const changes = [
      [{ name: 'Shop' }, { name: 'Shop' }],
      [{ accessToken: 'inner-other-token' }, { hasAccessToken: true }],
      [{ verifyToken: 'inner-verify-token' }, { hasVerifyToken: true }],
      [{ requireTokenSignature: true }, { requireTokenSignature: true }],
      [{}, {}],
    ] as const
    for (const [change, shown] of changes) {
      const told = api.changed.length
      const answer = await workspace.patch(path, change)
      expect(answer.status).toBe(200)
      expect(api.changed.slice(told)).toEqual([workspace.id])
      expected = { ...expected, ...shown, updatedAt: answer.body.updatedAt }
      expect(answer.body).toEqual(expected)
      expect(answer.text).not.toMatch(/inner-|sealed/i)
    }
    for (const read of [await workspace.get(path), await workspace.get('/v1/wabas')]) {
      expect(read.text).not.toMatch(/inner-|sealed/i)
    }
    const [row] = await api.database.sql`select * from wabas where waba_id = ${made.wabaId}`
    expect(String(await reveal(row?.access_token_sealed, 'access_token', made.wabaId))).toBe('inner-other-token')
    expect(String(await reveal(row?.verify_token_sealed, 'verify_token', made.wabaId))).toBe('inner-verify-token')
    const emptied = await workspace.patch(path, { name: null, accessToken: null, verifyToken: null })
    expect(emptied.body).toMatchObject({ name: null, hasAccessToken: false, hasVerifyToken: false })
  })

  test('POST takes them too', async () => {
    const body = { wabaId: nextNumber(), verifyToken: 'inner-verify-token', requireTokenSignature: true }
    const made = await workspace.post('/v1/wabas', body)
    expect(made.body).toMatchObject({ hasVerifyToken: true, requireTokenSignature: true })
    expect(made.text).not.toContain('inner-')
  })

  test('the operator alone verifies: 403 for a workspace key that tries, and nothing of its call is done', async () => {
    const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
    const path = `/v1/wabas/${wabaId}`
    const other = await api.makeWorkspace()
    for (const member of [
      { verification: 'verified' },
      { verified: true },
      { workspaceId: other.id },
      { workspaceId: workspace.id },
    ]) {
      const answer = await workspace.patch(path, { name: 'taken', ...member })
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    }
    expect((await workspace.get(path)).body).toMatchObject({ name: null, verification: 'unverified' })
    expect((await operate('PATCH', path, { verification: 'verified' })).body.verification).toBe('verified')
    expect((await workspace.get(path)).body.verification).toBe('verified')
    expect((await operate('PATCH', path, { verification: 'unverified' })).body.verification).toBe('unverified')
    expect((await operate('PATCH', path, { verification: 'maybe' })).status).toBe(400)
    expect((await operate('PATCH', path, { verified: true })).body).toMatchObject({
      verification: 'verified',
      verified: true,
    })
    expect((await operate('PATCH', path, { name: 'Kept' })).body.verified).toBe(true)
    expect((await operate('PATCH', path, { verified: false })).body.verification).toBe('unverified')
  })

  test('404 for a WABA that is not there, and for one of another workspace', async () => {
    const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
    const other = await api.makeWorkspace()
    for (const id of [wabaId, nextNumber()]) {
      expect((await other.patch(`/v1/wabas/${id}`, { name: 'x' })).status).toBe(404)
      expect((await other.remove(`/v1/wabas/${id}`)).status).toBe(404)
    }
  })
})

test('DELETE removes a WABA with all of its own and frees its id', async () => {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber(), appSecrets: ['x'] })
  await workspace.make('/v1/channels', channelInput(wabaId))
  await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  const exchangeId = await insertExchange(api, workspace, { wabaId })
  const told = api.changed.length
  expect(await workspace.remove(`/v1/wabas/${wabaId}`)).toMatchObject({ status: 204, text: '' })
  expect(api.changed.slice(told)).toEqual([workspace.id])
  for (const table of ['wabas', 'app_secrets', 'flow_keys', 'channels', 'flows', 'waba_directory']) {
    const { sql } = api.database
    expect(await sql`select 1 from ${sql(table)} where waba_id = ${wabaId}`, table).toHaveLength(0)
  }
  expect((await workspace.get(`/v1/exchanges/${exchangeId}`)).status).toBe(200)
  expect((await workspace.remove(`/v1/wabas/${wabaId}`)).status).toBe(404)
  const other = await api.makeWorkspace()
  await other.make('/v1/wabas', { wabaId })
})

describe('the operator moves a WABA', () => {
  async function makeFull() {
    const given = { appSecrets: ['inner-a', 'inner-b'], accessToken: 'inner-token', verifyToken: 'inner-verify' }
    const { wabaId, flowKeys } = await workspace.make('/v1/wabas', { wabaId: nextNumber(), name: 'Shop', ...given })
    await workspace.make(`/v1/wabas/${wabaId}/flow-keys`, {})
    await workspace.remove(`/v1/wabas/${wabaId}/flow-keys/${flowKeys[0].id}`)
    const channel = await workspace.make('/v1/channels', channelInput(wabaId))
    const flowJson = { version: '7.1', screens: [{ id: 'ONE', zebra: 1, apple: '\u0000' }] }
    const flow = await workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber(), flowJson })
    return { wabaId, channel, flow, whole: (await workspace.get(`/v1/wabas/${wabaId}`)).body }
  }
  const move = (wabaId: string, to: string, more: Json = {}) =>
    operate('PATCH', `/v1/wabas/${wabaId}`, { workspaceId: to, ...more })
  const versions = async (ids: readonly string[]) => {
    const rows = await api.database.sql`select id, config_version from workspaces where id = any(${ids as string[]})`
    return new Map(rows.map((row) => [row.id, Number(row.config_version)]))
  }

  test('with all of its own, sealed anew; both workspaces\u2019 relays are told, the new one first', async () => {
    const { wabaId, channel, flow, whole } = await makeFull()
    const exchangeId = await insertExchange(api, workspace, { wabaId })
    const to = await api.makeWorkspace()
    const before = await versions([workspace.id, to.id])
    const moved = await move(wabaId, to.id)
    expect(moved.status).toBe(200)
    expect(moved.body).toEqual({ ...whole, workspaceId: to.id, updatedAt: moved.body.updatedAt })
    expect(moved.text).not.toContain('inner-')
    expect(api.changed.slice(-2)).toEqual([to.id, workspace.id])
    const after = await versions([workspace.id, to.id])
    for (const id of [workspace.id, to.id]) expect(after.get(id)).toBe((before.get(id) ?? 0) + 1)

    expect((await to.get(`/v1/wabas/${wabaId}`)).body).toEqual(moved.body)
    expect((await to.get(`/v1/channels/${channel.id}`)).body).toEqual(channel)
    expect((await to.get(`/v1/flows/${flow.id}`)).body.flowJson.screens[0]).toEqual({
      id: 'ONE',
      zebra: 1,
      apple: '\0',
    })
    for (const path of [`/v1/wabas/${wabaId}`, `/v1/channels/${channel.id}`, `/v1/flows/${flow.id}`]) {
      expect((await workspace.get(path)).status).toBe(404)
    }
    // What was exchanged was the old workspace's and stays so.
    expect((await workspace.get(`/v1/exchanges/${exchangeId}`)).status).toBe(200)
    expect((await workspace.post('/v1/wabas', { wabaId })).body.code).toBe('waba_taken')

    const { sql } = api.database
    const opened = (sealed: Buffer, purpose: SecretPlace['purpose'], rowId: string) =>
      String(openSecret(sealed, { purpose, workspaceId: to.id, rowId }, api.masterKeys))
    const [row] = await sql`select * from wabas where waba_id = ${wabaId}`
    expect(opened(row?.access_token_sealed, 'access_token', wabaId)).toBe('inner-token')
    expect(opened(row?.verify_token_sealed, 'verify_token', wabaId)).toBe('inner-verify')
    const secrets = await sql`select * from app_secrets where waba_id = ${wabaId} order by id`
    const plain = secrets.map(({ id, app_secret_sealed }) => opened(app_secret_sealed, 'app_secret', id))
    expect(plain).toEqual(['inner-a', 'inner-b'])
    const keys = await sql`select * from flow_keys where waba_id = ${wabaId} order by id`
    expect(keys.map(({ status }) => status)).toEqual(['retired', 'active'])
    expect(keys[0]?.private_key_sealed).toBeNull()
    const place = { purpose: 'flow_key', workspaceId: to.id, rowId: keys[1]?.id } as const
    expect(openSecret(keys[1]?.private_key_sealed, place, api.masterKeys)).not.toBeNull()
  })

  test('and changes it at once; to its own workspace it stays', async () => {
    const { wabaId } = await makeFull()
    expect((await move(wabaId, workspace.id, { name: 'Same' })).body).toMatchObject({
      name: 'Same',
      workspaceId: workspace.id,
    })
    const to = await api.makeWorkspace()
    const moved = await move(wabaId, to.id, { name: 'New', accessToken: 'inner-new', verification: 'verified' })
    expect(moved.body).toMatchObject({ name: 'New', verification: 'verified', hasAccessToken: true })
    const [row] = await api.database.sql`select access_token_sealed from wabas where waba_id = ${wabaId}`
    const place = { purpose: 'access_token', workspaceId: to.id, rowId: wabaId } as const
    expect(String(openSecret(row?.access_token_sealed, place, api.masterKeys))).toBe('inner-new')
  })

  test('404 into nowhere, 409 onto a channel that is there, 500 where a secret does not open: nothing has moved', async () => {
    const { wabaId, channel, whole } = await makeFull()
    const nowhere = await move(wabaId, newId('workspace'))
    expect(nowhere).toMatchObject({ status: 404 })
    expect(nowhere.body.detail).toMatch(/^workspaceId: /)
    expect((await move(wabaId, 'x')).status).toBe(400)

    const to = await api.makeWorkspace()
    const { wabaId: theirs } = await to.make('/v1/wabas', { wabaId: nextNumber() })
    const { phoneNumberId } = channel
    await to.make('/v1/channels', { ...channelInput(theirs), phoneNumberId })
    expect(await move(wabaId, to.id)).toMatchObject({ status: 409, body: { code: 'already_exists' } })

    const bystander = await api.makeWorkspace()
    await api.database.sql`update wabas set access_token_sealed = 'damaged' where waba_id = ${wabaId}`
    const failed = await move(wabaId, bystander.id)
    expect(failed).toMatchObject({ status: 500, body: { code: 'internal_error' } })
    expect((await workspace.get(`/v1/wabas/${wabaId}`)).body).toEqual(whole)
    expect((await bystander.get('/v1/wabas')).body.data).toEqual([])
  })

  test('back and forth at once: it is in one of the two in the end, whole', async () => {
    const { wabaId } = await makeFull()
    const to = await api.makeWorkspace()
    const moves = [
      move(wabaId, to.id),
      operate('PATCH', `/v1/wabas/${wabaId}`, { workspaceId: workspace.id }, to.id),
      move(wabaId, to.id),
      operate('PATCH', `/v1/wabas/${wabaId}`, { workspaceId: workspace.id }, to.id),
    ]
    for (const { status } of await Promise.all(moves)) expect([200, 404]).toContain(status)
    const found = await Promise.all([workspace, to].map((owner) => owner.get(`/v1/wabas/${wabaId}`)))
    expect(found.map(({ status }) => status).toSorted()).toEqual([200, 404])
    expect(found.find(({ status }) => status === 200)?.body).toMatchObject({ appSecrets: [{}, {}], flowKeys: [{}, {}] })
  })
})
