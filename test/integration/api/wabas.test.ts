import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSecret, type SecretPlace } from '../../../src/crypto/sealed-secret.ts'
import { adminToken, publicUrl, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { nextNumber } from './samples.ts'

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
  const waba = await workspace.make('/v1/wabas', { wabaId })
  expect(waba).toEqual({
    wabaId,
    name: null,
    endpointUri: `${publicUrl}/api/whatsapp/flows/${wabaId}/data`,
    publicKey: expect.stringMatching(/^-----BEGIN PUBLIC KEY-----\n/),
    verification: 'unverified',
    hasAccessToken: false,
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
  expect((await workspace.get(`/v1/wabas/${wabaId}`)).body).toEqual(waba)
  expect(api.changed.at(-1)).toBe(workspace.id)
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
