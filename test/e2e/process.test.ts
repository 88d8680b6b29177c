import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterEach, describe, expect, it } from 'vitest'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../support/database.ts'
import { useEmbedded, usePlantedCluster } from '../support/embedded-fixture.ts'
import { eventually } from '../support/eventually.ts'
import { fakeMeta } from '../support/meta.ts'
import { endProcesses, type RelevoProcess, runRelevo } from '../support/process.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { delayed, reply } from '../support/tenant-behaviours.ts'

afterEach(endProcesses)

const keys = () => ({
  MASTER_KEY: randomBytes(32).toString('base64'),
  ADMIN_TOKEN: randomBytes(24).toString('hex'),
  PORT: '0',
  WEBHOOK_ALLOW_HTTP: 'true',
  WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
})

async function api(url: string, token: string, path: string, body?: unknown) {
  const response = await fetch(url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return response.json() as Promise<{ id: string; key: string; publicKey: string; data: { outcome: string }[] }>
}

/** A WABA with an app secret and a webhook, registered on a running process. */
async function register(url: string, adminToken: string, wabaId: string, tenantUrl: string) {
  const workspace = await api(url, adminToken, '/v1/workspaces', { name: 'W' })
  const { key } = await api(url, adminToken, `/v1/workspaces/${workspace.id}/api-keys`, { name: 'K' })
  const { publicKey } = await api(url, key, '/v1/wabas', { wabaId, appSecrets: ['app-secret'] })
  await api(url, key, '/v1/webhooks', { name: 'H', url: tenantUrl, events: ['whatsapp.flows.exchanges'] })
  const meta = (at: string) =>
    fakeMeta({ endpointUri: `${at}/api/whatsapp/flows/${wabaId}/data`, publicKey, appSecret: 'app-secret' })
  return { key, meta }
}

describe('a start that cannot be', () => {
  async function lineOf(environment: Record<string, string>): Promise<string> {
    const relevo = runRelevo(['serve'], environment)
    expect(await relevo.ended()).toBe(1)
    const lines = relevo.output().trimEnd().split('\n')
    expect(lines).toHaveLength(1)
    return lines[0] ?? ''
  }

  it('names every variable that is missing, short or wrong, in one line, without its value', async () => {
    const line = await lineOf({
      DATABASE_URL: 'postgres://x/y',
      ADMIN_TOKEN: 'too-short',
      PORT: 'eighty',
      DEADLINE_MS: '',
    })
    for (const name of ['MASTER_KEY', 'ADMIN_TOKEN', 'PORT']) expect(line).toContain(name)
    expect(line).not.toMatch(/too-short|eighty|DEADLINE_MS/)
  })

  it('names the command for pending migrations; after it, past a pooler, the start succeeds', async () => {
    const database = await createEmptyDatabase()
    const environment = { ...keys(), DATABASE_URL: database.url }
    expect(await lineOf(environment)).toContain('npm run migrate')
    const pooler = 'postgres://nobody@127.0.0.1:1/none'
    const direct = { ...environment, DATABASE_URL: pooler, DATABASE_DIRECT_URL: database.url }
    const migration = runRelevo(['migrate'], direct)
    expect(await migration.ended()).toBe(0)
    const relevo = runRelevo(['serve'], environment)
    await relevo.listening()
    relevo.child.kill('SIGTERM')
    expect(await relevo.ended()).toBe(0)
    await database.drop()
  })

  it('refuses a MASTER_KEY that does not open what is stored', async () => {
    const database = await createTestDatabase()
    const environment = { ...keys(), DATABASE_URL: database.url }
    const first = runRelevo(['serve'], environment)
    await register(await first.listening(), environment.ADMIN_TOKEN, '1', 'https://example.com/')
    first.child.kill('SIGTERM')
    expect(await first.ended()).toBe(0)
    const line = await lineOf({ ...environment, MASTER_KEY: randomBytes(32).toString('base64') })
    expect(line).toContain('MASTER_KEY')
    await database.drop()
  })

  it('names a port that is taken, of one process and of several', async () => {
    const database = await createTestDatabase()
    const environment = { ...keys(), DATABASE_URL: database.url }
    const first = runRelevo(['serve'], environment)
    const { port } = new URL(await first.listening())
    expect(await lineOf({ ...environment, PORT: port })).toContain('EADDRINUSE')
    expect(await lineOf({ ...environment, PORT: port, WORKERS: '2' })).toContain('EADDRINUSE')
    first.child.kill('SIGTERM')
    await first.ended()
    await database.drop()
  })

  it.each(['1', '2'])('names a HOST that does not resolve, of %s process(es)', async (WORKERS) => {
    const database = await createTestDatabase()
    // A name server may take its time, and the maintenance says meanwhile that it begins.
    const environment = {
      ...keys(),
      DATABASE_URL: database.url,
      HOST: 'nowhere.invalid',
      WORKERS,
      LOG_LEVEL: 'error',
    }
    expect(await lineOf(environment)).toMatch(/^cannot listen on HOST and PORT: (ENOTFOUND|EAI_AGAIN)$/)
    await database.drop()
  })
})

it('a database that refuses a process is told as that, with its code', async () => {
  const database = await createEmptyDatabase()
  await database.drop()
  const relevo = runRelevo(['serve'], { ...keys(), DATABASE_URL: database.url })
  await relevo.listening()
  const line = await eventually(() => /^.*configuration not loaded.*$/m.exec(relevo.output()))
  expect(JSON.parse(line[0])).toMatchObject({
    level: 'warn',
    msg: 'configuration not loaded: the database refuses us',
    error: { name: 'StorageError', operation: expect.any(String), code: '3D000' },
  })
  relevo.child.kill('SIGTERM')
  expect(await relevo.ended()).toBe(0)
})

describe('SIGTERM', () => {
  let database: TestDatabase
  let tenant: FakeTenant

  it('finishes what is in flight, takes nothing new, writes the row and exits 0', async () => {
    database = await createTestDatabase()
    tenant = await startTenant()
    const environment = { ...keys(), DATABASE_URL: database.url }
    const relevo = runRelevo(['serve'], environment)
    const url = await relevo.listening()
    const { meta, key } = await register(url, environment.ADMIN_TOKEN, '2', tenant.url)
    tenant.next(delayed(500, { screen: 'LAST', data: {} }))
    const answer = meta(url).init('in-flight')
    await expect.poll(() => tenant.received.length).toBe(1)
    relevo.child.kill('SIGTERM')
    await expect
      .poll(() =>
        fetch(`${url}/livez`).then(
          () => 'open',
          () => 'closed',
        ),
      )
      .toBe('closed')
    expect((await answer).answer).toEqual({ screen: 'LAST', data: {} })
    expect(await relevo.ended()).toBe(0)

    const next = runRelevo(['serve'], environment)
    const { data } = await api(await next.listening(), key, '/v1/exchanges')
    expect(data.map(({ outcome }) => outcome)).toEqual(['replied'])
    next.child.kill('SIGTERM')
    await next.ended()
    await tenant.close()
    await database.drop()
  })
})

describe('embedded mode', () => {
  it('makes keys and says where, is adopted after kill -9, and keeps what it stored', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'relevo-process-'))
    const environment = { ...keys(), DATA_DIR: dataDir, MASTER_KEY: '', ADMIN_TOKEN: '' }
    const tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))

    const first = runRelevo(['serve'], environment)
    const firstUrl = await first.listening()
    for (const file of ['master-key', 'admin-token']) expect(first.output()).toContain(join(dataDir, file))
    const adminToken = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim()
    expect(first.output()).not.toContain(adminToken)
    const { meta } = await register(firstUrl, adminToken, '3', tenant.url)
    first.child.kill('SIGKILL')
    await first.ended()

    const second: RelevoProcess = runRelevo(['serve'], environment)
    const secondUrl = await second.listening()
    expect(second.output()).toContain('found running')
    expect((await meta(secondUrl).init('after')).answer).toEqual({ screen: 'A', data: {} })
    second.child.kill('SIGTERM')
    expect(await second.ended()).toBe(0)
    await tenant.close()
    await rm(dataDir, { recursive: true })
  })
})

describe('embedded mode with a database that takes no migration', () => {
  const fixture = useEmbedded()
  usePlantedCluster(fixture)

  it.each(['migrate', 'serve'])('%s says so, and ends with its server', async (command) => {
    const { url, stop } = await fixture.start()
    const sql = postgres(url, { max: 1 })
    await sql`create table api_keys (in_the_way int)`
    await sql.end()
    await stop()
    const relevo = runRelevo([command], { DATA_DIR: fixture.dataDir })
    expect(await relevo.ended()).toBe(1)
    expect(relevo.output()).toContain('migrate failed: 42P07')
    expect(await fixture.postmasterPid()).toBeUndefined()
  })
})

describe('embedded mode in a folder where no service started', () => {
  it.each(['migrate --status', 'migrate --plan', 'reseal'])('%s says so and makes nothing', async (command) => {
    const folder = await mkdtemp(join(tmpdir(), 'relevo-empty-'))
    const DATA_DIR = join(folder, 'not', 'yet')
    const relevo = runRelevo(command.split(' '), { DATA_DIR })
    expect(await relevo.ended()).toBe(1)
    expect(relevo.output()).toMatch(`DATA_DIR (${DATA_DIR}) has no postgresql/PG_VERSION`)
    expect(await readdir(folder)).toEqual([])
    await rm(folder, { recursive: true })
  })
})

describe('relevo simulate', () => {
  const given = ['simulate', 'http://127.0.0.1:1/', '--public-key', '/nowhere/key.pem', '--app-secret', 'a']
  it.each([
    ['a file that is not there', given],
    ['a number that is none', [...given, '--rate', 'many']],
  ])('tells %s by 2, for 1 is an answer that was wrong', async (_, args) => {
    const simulate = runRelevo(args)
    expect(await simulate.ended()).toBe(2)
    expect(simulate.output()).toMatch(/--public-key: cannot read|--rate/)
  })
})

describe('relevo keys generate', () => {
  it('prints both halves; the private one encrypted with a passphrase', async () => {
    const plain = runRelevo(['keys', 'generate'])
    expect(await plain.ended()).toBe(0)
    expect(plain.output()).toMatch(/^-----BEGIN PRIVATE KEY-----[\s\S]*-----BEGIN PUBLIC KEY-----/)
    const sealed = runRelevo(['keys', 'generate', '--passphrase', 'words'])
    expect(await sealed.ended()).toBe(0)
    expect(sealed.output()).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
  })

  it('refuses an empty passphrase: what it printed would be in clear', async () => {
    const relevo = runRelevo(['keys', 'generate', '--passphrase', ''])
    expect(await relevo.ended()).toBe(1)
    expect(relevo.output()).toBe("error: option '--passphrase <text>' argument '' is invalid. must not be empty\n")
  })
})
