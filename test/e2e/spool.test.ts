import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

let dataDir: string
let database: TestDatabase
let proxy: TcpProxy
let tenant: FakeTenant
let relevo: TestRelevo
let account: TestAccount
const MASTER_KEY = randomBytes(32).toString('base64')

const start = (url: string) => startRelevo({ DATA_DIR: dataDir, MASTER_KEY }, { database: { ...database, url } })
const spooledFiles = () => readdir(join(dataDir, 'spool')).catch(() => [])
async function metric(name: string): Promise<number> {
  const headers = { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` }
  const page = await (await fetch(`${relevo.url}/metrics`, { headers })).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(page)?.[1])
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'relevo-spool-'))
  database = await createTestDatabase()
  proxy = await startProxy(database.url)
  relevo = await start(proxy.url)
  tenant = await startTenant()
  tenant.always(reply({ screen: 'NEXT', data: {} }))
  account = await createAccount(relevo)
  await createWebhook(relevo, account, tenant.url)
})
afterEach(async () => {
  await tenant.close()
  await proxy.close()
  await database.drop()
  await rm(dataDir, { recursive: true })
})

describe('an end while the database is away', () => {
  it.each([
    ['dead', () => proxy.cut()],
    ['stalled', async () => proxy.freeze()],
  ] as const)('%s: loses nothing; the next start writes what is in the spool', async (_name, leave) => {
    await account.meta.init('before')
    await leave()
    for (const token of ['away-1', 'away-2']) expect((await account.meta.init(token)).answer.screen).toBe('NEXT')
    expect(await spooledFiles()).not.toEqual([])
    await relevo.close()
    expect(relevo.logs.filter(({ level }) => level === 'error').map(({ msg }) => msg)).not.toContain('rows are lost')
    expect(await spooledFiles()).toHaveLength(1)

    relevo = await start(database.url)
    const rows = await relevo.exchanges(account, 3, 10_000)
    expect(rows.map((row) => row.flowToken)).toEqual(['before', 'away-1', 'away-2'])
    expect(rows.map((row) => row.outcome)).toEqual(['replied', 'replied', 'replied'])
    await expect.poll(spooledFiles).toEqual([])
    await relevo.close()
  })
})

describe('a database that gives up statements which wait', () => {
  it('loses no row while somebody holds the table', async () => {
    const sql = postgres(database.url, { max: 1 })
    await sql.unsafe(`alter database ${new URL(database.url).pathname.slice(1)} set lock_timeout = '300ms'`)
    await relevo.close()
    relevo = await start(database.url)
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
    await sql.begin(async (tx) => {
      await tx`lock table exchanges in share mode`
      for (let call = 0; call < 5; call++) expect((await account.meta.init(`t-${call}`)).answer.screen).toBe('NEXT')
      await eventually(() =>
        relevo.logs.some(({ msg }) => msg === 'the database takes no rows: exchanges go on, rows go to the disk'),
      )
    })
    const rows = await relevo.exchanges(account, 5, 10_000)
    expect(rows.map((row) => row.flowToken)).toEqual(['t-0', 't-1', 't-2', 't-3', 't-4'])
    expect(await metric('relevo_recorder_rows_lost_total')).toBe(0)
    await sql.end()
    await relevo.close()
  })
})

describe('what is told of a fallback', () => {
  it('is on a disk before the answer goes out', async () => {
    await createWebhook(relevo, account, tenant.url, { events: ['whatsapp.flows.fallback'] })
    const sql = postgres(database.url, { max: 1 })
    tenant.always(async (call) => {
      await eventually(async () => (await sql`select from exchanges`).length === 1)
      // The opening is written, the end will not be.
      proxy.freeze()
      await reply({}, 500)(call)
    })
    expect((await account.meta.init('told')).answer).toEqual({ data: { acknowledged: true } })
    expect(await spooledFiles()).not.toEqual([])
    await sql.end()
    await relevo.close()
  })
})

describe('a disk that takes no rows', () => {
  it('and no database: exchanges go on, it is shouted, and the rows are written from memory', async () => {
    await writeFile(join(dataDir, 'spool'), 'a file in the way')
    await proxy.cut()
    for (let call = 0; call < 3; call++) expect((await account.meta.init(`away-${call}`)).answer.screen).toBe('NEXT')
    expect(relevo.logs.filter(({ level }) => level === 'error').map(({ msg }) => msg)).toContain(
      'the spool fails: exchanges go on, rows wait in memory only',
    )
    expect(await metric('relevo_recorder_rows_waiting')).toBeGreaterThan(0)
    await proxy.restore()
    expect(await relevo.exchanges(account, 3, 10_000)).toHaveLength(3)
    expect(await metric('relevo_recorder_rows_lost_total')).toBe(0)
    await relevo.close()
  })

  it('and an end: what is lost is counted and said', async () => {
    await writeFile(join(dataDir, 'spool'), 'a file in the way')
    await proxy.cut()
    await account.meta.init('away')
    await relevo.close()
    expect(relevo.logs).toContainEqual(
      expect.objectContaining({ level: 'error', rows: 2, msg: 'rows were not written before the end' }),
    )
  })
})
