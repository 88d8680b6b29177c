import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { AppConfig } from '../../src/app.ts'
import { checkPing, checkSignature } from '../../src/doctor/endpoint.ts'
import { type CheckName, checkNames, type Finding } from '../../src/doctor/finding.ts'
import { checkTls } from '../../src/doctor/public-url.ts'
import { checkSpool } from '../../src/doctor/spool.ts'
import { examine, runDoctor } from '../../src/doctor.ts'
import { prepareDataDir } from '../../src/storage/data-dir.ts'
import { makeCertificate } from '../support/certificate.ts'
import { createEmptyDatabase } from '../support/database.ts'
import { useEmbedded } from '../support/embedded-fixture.ts'
import { type FakeGraph, refuse, startGraph } from '../support/graph.ts'
import { endProcesses, runRelevo } from '../support/process.ts'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type Passed, startTlsProxy, type TlsProxy } from '../support/tls-proxy.ts'

const certificate = makeCertificate({ hosts: ['localhost'] })
const accessToken = `EAA${randomBytes(20).toString('hex')}`
const phoneNumberId = '200000000000001'
const readKey = 'GET /:id/whatsapp_business_encryption'
const readWaba = 'GET /:id'

let graph: FakeGraph
let relevo: TestRelevo
let proxy: TlsProxy
let account: TestAccount
let config: AppConfig

beforeAll(async () => {
  graph = await startGraph()
  const platformSecret = randomBytes(16).toString('hex')
  relevo = await startRelevo({ GRAPH_API_URL: graph.url, META_APP_SECRETS: platformSecret })
  proxy = await startTlsProxy(certificate, relevo.url)
  config = { ...relevo.config, PUBLIC_URL: proxy.url }
  account = await createAccount(relevo)
  const { wabaId, token } = account
  graph.model.addWaba(wabaId, accessToken)
  graph.model.addPhoneNumber(wabaId, phoneNumberId)
  await relevo.api('PATCH', `/v1/wabas/${wabaId}`, { body: { accessToken }, token })
  await create(relevo, '/v1/channels', { wabaId, phoneNumberId, phoneNumber: '+5215555550100' }, token)
  const { body } = await relevo.api('GET', `/v1/wabas/${wabaId}`, { token })
  await create(relevo, `/v1/wabas/${wabaId}/flow-keys/${body.flowKeys[0].id}/publish`, undefined, token)
})
afterEach(() => {
  proxy.change = (passed) => passed
  endProcesses()
  graph.assertNoSurprises()
})
afterAll(async () => {
  await proxy.close()
  await relevo.close()
  await graph.close()
})

const examined = (changes: Partial<AppConfig> = {}) => examine({ ...config, ...changes }, { ca: certificate.cert })
const of = (findings: readonly Finding[], check: CheckName) => findings.find((finding) => finding.check === check)
const wrong = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ check, level }) => `${level} ${check}`)

describe('a deployment that is well', () => {
  it('has one good line for each check, in order', async () => {
    const findings = await examined()
    expect(findings.map(({ check, level, advice }) => [check, level, advice])).toEqual(
      checkNames.map((check) => [check, 'ok', null]),
    )
    // Once by the publication before, once by the doctor.
    expect(graph.callsOf(readKey)).toHaveLength(2)
  })

  it('ends the command with 0, also over http on this machine, which is a warning; and shows no secret', async () => {
    const { DATABASE_URL, MASTER_KEY, ADMIN_TOKEN, GRAPH_API_URL } = relevo.config
    const secrets = { DATABASE_URL, MASTER_KEY, ADMIN_TOKEN, META_APP_SECRETS: randomBytes(16).toString('hex') }
    const environment = { ...secrets, GRAPH_API_URL, PUBLIC_URL: relevo.url, DATA_DIR: relevo.config.DATA_DIR }
    const lines = runRelevo(['doctor'], environment)
    expect(await lines.ended(), lines.output()).toBe(0)
    const shown = lines.output().trimEnd().split('\n')
    expect(shown).toHaveLength(checkNames.length)
    expect(shown.filter((line) => !line.startsWith('ok '))).toEqual([
      'warn  tls          PUBLIC_URL is http: Meta calls https only: put a proxy with a public certificate in front and set PUBLIC_URL',
    ])
    const printed: string[] = []
    const closed = { ...environment, PUBLIC_URL: 'http://127.0.0.1:1' }
    expect(await runDoctor({ json: true, out: (line) => printed.push(line), environment: closed })).toBe(1)
    const json = printed.join('\n')
    const { verdict, findings } = JSON.parse(json)
    expect(verdict).toBe('fail')
    expect(of(findings, 'reachable')).toMatchObject({ level: 'fail', message: 'no answer (ECONNREFUSED)' })
    for (const secret of [...Object.values(secrets), accessToken, account.appSecret, '5555550100']) {
      expect(lines.output() + json).not.toContain(secret)
    }
  })
})

describe('what Meta would stumble over', () => {
  const spoiling: [string, (passed: Passed) => Passed, CheckName, string, string][] = [
    [
      'a proxy without a relay',
      (passed) => ({ ...passed, status: 502 }),
      'ping',
      'status 502',
      'does not reach a relay',
    ],
    ['another installation', (passed) => ({ ...passed, status: 404 }), 'ping', 'status 404', 'this installation'],
    ['other flow keys', (passed) => ({ ...passed, status: 421 }), 'ping', 'status 421', 'other flow keys'],
    ['a changed body', (passed) => ({ ...passed, status: 432 }), 'ping', 'status 432', 'byte for byte'],
    ['an answer in quotes', quoted, 'ping', 'not bare base64', 'change bodies'],
    ['another content type', asHtml, 'ping', 'Content-Type is text/html', 'change bodies'],
    ['other statuses', as403, 'signature', '403 instead of 432', 'change statuses'],
  ]
  it.each(spoiling)('%s', async (_, change, check, message, advice) => {
    proxy.change = change
    const judge = check === 'ping' ? checkPing : checkSignature
    const finding = await judge(new URL(proxy.url), account)
    expect(finding).toMatchObject({ check, level: 'fail' })
    expect(finding.message).toContain(message)
    expect(finding.advice).toContain(advice)
  })

  it('a URL that leads elsewhere, and a relay that is gone', async () => {
    const elsewhere = await examined({ PUBLIC_URL: graph.url })
    expect(of(elsewhere, 'reachable')).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('instead of 405'),
    })
    expect(of(elsewhere, 'ping')).toMatchObject({ level: 'warn', message: 'not checked' })
    const dead = await startTlsProxy(certificate, 'http://127.0.0.1:1')
    const gone = of(await examined({ PUBLIC_URL: dead.url }), 'reachable')
    expect(gone).toMatchObject({ level: 'fail', advice: expect.stringContaining('does not reach Relevo') })
    await dead.close()
    expect(() => graph.assertNoSurprises()).toThrow('no such path')
  })

  it('a WABA without an app secret, and calls that need none', async () => {
    const lax = await startRelevo({ META_SIGNATURE: 'off', GRAPH_API_URL: graph.url })
    await createAccount(lax, { appSecrets: [] })
    const findings = await examine({ ...lax.config, PUBLIC_URL: lax.url })
    expect(of(findings, 'ping')).toMatchObject({ level: 'fail', message: expect.stringContaining('no app secret') })
    expect(of(findings, 'signature')).toMatchObject({ level: 'fail', message: 'an unsigned call is answered' })
    expect(of(findings, 'graph-token')).toMatchObject({ level: 'warn', message: expect.stringContaining('has none') })
    await lax.close()
  })

  it('Graph: a token that is refused, a key of others, nobody there', async () => {
    graph.next(readWaba, refuse(190, { status: 401 }))
    const refused = of(await examined(), 'graph-token')
    expect(refused).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('expired, revoked or wrong (190)'),
    })
    const held = graph.model.phoneNumbers.get(phoneNumberId)
    if (held === undefined) throw new Error('no number')
    const { publicKey } = held
    held.publicKey = '-----BEGIN PUBLIC KEY-----\nanother\n-----END PUBLIC KEY-----'
    expect(of(await examined(), 'graph-key')).toMatchObject({
      level: 'fail',
      advice: expect.stringContaining('/publish'),
    })
    held.publicKey = publicKey
    const away = await examined({ GRAPH_API_URL: 'http://127.0.0.1:1' })
    expect(wrong(away)).toEqual(['warn graph-token'])
  })
})

describe('the certificate', () => {
  const soon = new Date(Date.now() + 5 * 86_400_000)
  const past = new Date(Date.UTC(2021, 0, 1))
  it.each([
    ['is of no public authority', {}, false, 'fail', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed'],
    ['comes without those between', { issuer: 'an authority' }, false, 'fail', 'UNABLE_TO', 'intermediate'],
    ['has ended', { notAfter: past }, true, 'fail', 'CERT_HAS_EXPIRED', 'renew it'],
    ['ends soon', { notAfter: soon }, true, 'warn', 'ends in 4 days', 'renew it'],
    ['is for another name', { hosts: ['other.example'] }, true, 'fail', 'ALTNAME_INVALID', 'another name'],
  ] as const)('that %s', async (_, more, isTrusted, level, message, advice) => {
    const shown = makeCertificate({ hosts: ['localhost'], ...more })
    const server = await startTlsProxy(shown, relevo.url)
    const finding = await checkTls(new URL(server.url), isTrusted ? { ca: shown.cert } : {})
    expect(finding).toMatchObject({ check: 'tls', level })
    expect(finding.message).toContain(message)
    expect(finding.advice).toContain(advice)
    await server.close()
  })

  it('that is not there: plain http from outside, or something else than TLS', async () => {
    expect((await checkTls(new URL('http://relevo.example.com'))).level).toBe('fail')
    expect((await checkTls(new URL(relevo.url.replace('http:', 'https:')))).level).toBe('fail')
  })
})

describe('what a deployment stands on', () => {
  it('a database that is away: the rest is told all the same', async () => {
    const findings = await examined({ DATABASE_URL: 'postgres://127.0.0.1:1/relevo' })
    expect(of(findings, 'database')).toMatchObject({ level: 'fail', message: 'cannot be asked (ECONNREFUSED)' })
    expect(of(findings, 'reachable')?.level).toBe('ok')
    expect(of(findings, 'spool')?.level).toBe('ok')
  })

  it('a database that has too few locks for so long a log', async () => {
    expect(of(await examined({ LOG_RETENTION_DAYS: 60 }), 'database')?.level).toBe('ok')
    expect(of(await examined({ LOG_RETENTION_DAYS: 3650 }), 'database')).toMatchObject({
      level: 'warn',
      message: expect.stringContaining('max_locks_per_transaction of 64'),
      advice: expect.stringContaining('set it to 10950'),
    })
  })

  it('a database without its migrations', async () => {
    const database = await createEmptyDatabase()
    const findings = await examined({ DATABASE_URL: database.url })
    expect(of(findings, 'migrations')).toMatchObject({ level: 'fail', advice: 'run `relevo migrate`' })
    await database.drop()
  })

  it('another master key', async () => {
    // A flow key, an app secret and a verify token; a webhook's secret and its headers.
    await relevo.api('PATCH', `/v1/wabas/${account.wabaId}`, {
      body: { verifyToken: 'v'.repeat(20) },
      token: account.token,
    })
    await createWebhook(relevo, account, 'https://tenant.example/', { headers: { 'x-token': 'of the tenant' } })
    expect(of(await examined(), 'master-key')?.level).toBe('ok')
    const findings = await examined({ MASTER_KEY: randomBytes(32).toString('base64') })
    expect(of(findings, 'master-key')).toMatchObject({ level: 'fail', message: '5 stored secrets do not open' })
    expect(of(findings, 'ping')).toMatchObject({ level: 'fail', advice: 'see master-key' })
    expect(of(findings, 'graph-token')).toMatchObject({
      level: 'fail',
      message: expect.stringContaining('does not open'),
    })
  })

  it('a spool that holds rows, a damaged one, and none that can be', async () => {
    const DATA_DIR = await mkdtemp(join(tmpdir(), 'relevo-doctor-'))
    await mkdir(join(DATA_DIR, 'spool'))
    await writeFile(join(DATA_DIR, 'spool', 'a.sqlite'), Buffer.alloc(2 ** 21))
    expect(await checkSpool(DATA_DIR)).toMatchObject({
      level: 'warn',
      advice: expect.stringContaining('wait for the database'),
    })
    await writeFile(join(DATA_DIR, 'spool', 'a.sqlite.damaged'), '')
    expect(await checkSpool(DATA_DIR)).toMatchObject({ level: 'warn', message: expect.stringContaining('1 damaged') })
    expect(await checkSpool(join(DATA_DIR, 'spool', 'a.sqlite'))).toMatchObject({ level: 'fail' })
    // It is made when rows need it, by the service's user.
    expect(await checkSpool(join(DATA_DIR, 'not', 'yet'))).toMatchObject({ level: 'ok' })
    await rm(DATA_DIR, { recursive: true })
  })
})

describe('embedded mode', () => {
  const fixture = useEmbedded()
  const findingsIn = async (environment: Record<string, string>) => {
    const printed: string[] = []
    const exitCode = await runDoctor({ json: true, out: (line) => printed.push(line), environment })
    return { exitCode, findings: JSON.parse(printed.join('')).findings as Finding[] }
  }

  it('makes nothing where no service has started', async () => {
    const DATA_DIR = join(fixture.dataDir, 'not', 'yet')
    const { exitCode, findings } = await findingsIn({ DATA_DIR })
    expect(exitCode).toBe(1)
    expect(findings).toEqual([
      expect.objectContaining({ check: 'database', level: 'fail', message: expect.stringContaining(DATA_DIR) }),
    ])
    expect(await readdir(fixture.dataDir)).toEqual([])
  })

  it('makes no other master key beside a database, nor tables in it', async () => {
    await fixture.plant()
    const before = await readdir(fixture.dataDir)
    const keyless = await findingsIn({ DATA_DIR: fixture.dataDir })
    expect(keyless).toMatchObject({ exitCode: 1, findings: [{ message: expect.stringContaining('no master-key') }] })
    expect(await readdir(fixture.dataDir)).toEqual(before)
    await prepareDataDir(fixture.dataDir)
    const { exitCode, findings } = await findingsIn({ DATA_DIR: fixture.dataDir, PUBLIC_URL: relevo.url })
    expect(exitCode).toBe(1)
    expect(of(findings, 'migrations')).toMatchObject({ level: 'fail', advice: 'run `relevo migrate`' })
    expect(await fixture.postmasterPid()).toBeUndefined()
    const sql = postgres((await fixture.start()).url, { max: 1 })
    expect(
      await sql`select schemaname, tablename from pg_tables where tableowner = 'relevo'
      and schemaname not in ('pg_catalog', 'information_schema')`,
    ).toEqual([])
    await sql.end()
  })

  it('looks at the database of a service that runs, and leaves it to it', async () => {
    await fixture.plant()
    const service = runRelevo(['serve'], { DATA_DIR: fixture.dataDir, PORT: '0' })
    const url = await service.listening()
    const { exitCode, findings } = await findingsIn({ DATA_DIR: fixture.dataDir, PUBLIC_URL: url })
    expect(exitCode, JSON.stringify(findings)).toBe(0)
    expect(of(findings, 'migrations')).toMatchObject({ level: 'ok' })
    expect(await fixture.postmasterPid()).toBeDefined()
    service.child.kill('SIGTERM')
    expect(await service.ended()).toBe(0)
    expect(await fixture.postmasterPid()).toBeUndefined()
  })
})

function quoted(passed: Passed): Passed {
  return { ...passed, body: Buffer.from(JSON.stringify(passed.body.toString())) }
}

function asHtml(passed: Passed): Passed {
  return { ...passed, headers: { ...passed.headers, 'content-type': 'text/html' } }
}

function as403(passed: Passed): Passed {
  return { ...passed, status: passed.status === 432 ? 403 : passed.status }
}
