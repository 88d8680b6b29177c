import { createHmac, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { migrate } from '../../src/migrate.ts'
import { eventually } from '../support/eventually.ts'
import { endProcesses, runRelevo } from '../support/process.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { noContent, reply } from '../support/tenant-behaviours.ts'
import { createServers, hasPostgresql15, type Server, type Servers } from './postgresql-15.ts'

// The steps of docs/database.md, "Backup and restore".
if (!hasPostgresql15) console.warn('SKIPPED: restoring needs PostgreSQL 15 (Debian: postgresql-15), which is not here')

const MASTER_KEY = randomBytes(32).toString('base64')
const ADMIN_TOKEN = `admin-${randomBytes(24).toString('hex')}`

describe.skipIf(!hasPostgresql15)('a backup of a Relevo that serves', () => {
  const exchanges = 5
  let servers: Servers
  let server: Server
  let tenant: FakeTenant
  let observer: FakeTenant
  let account: TestAccount
  let secret: string

  beforeAll(async () => {
    servers = await createServers()
    const archive = `test ! -f ${servers.folder}/%f && cp %p ${servers.folder}/%f`
    server = await servers.create({ archive_mode: 'on', archive_command: archive, max_wal_senders: '3' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    observer = await startTenant()
  })
  afterEach(endProcesses)
  afterAll(async () => {
    await tenant?.close()
    await observer?.close()
    await servers?.close()
  })

  function start(at: Server, name: string): Promise<TestRelevo> {
    return startRelevo({ MASTER_KEY, ADMIN_TOKEN }, { database: { url: at.url(name), drop: async () => undefined } })
  }

  it('restored from pg_dump: secrets open, exchanges are answered, pending deliveries arrive', async () => {
    await server.query('create database original')
    await migrate(server.url('original'))
    const before = await start(server, 'original')
    account = await createAccount(before)
    ;({ secret } = await createWebhook(before, account, tenant.url))
    await createWebhook(before, account, observer.url)
    observer.always(({ response }) => void response.writeHead(503).end())
    for (let exchange = 0; exchange < exchanges; exchange++) await account.meta.init()
    const told = await before.exchanges(account, exchanges, 30_000)
    await eventually(() => observer.received.length >= exchanges, { timeoutMs: 30_000 })
    // While it serves: a dump is of one moment.
    const file = join(servers.folder, 'relevo.dump')
    const at = ['-h', '127.0.0.1', '-p', String(server.port), '-U', 'postgres']
    await servers.run('pg_dump', [...at, '-Fc', '-f', file, 'original'])
    await before.close()
    await server.query('drop database original with (force)')

    await server.query('create database restored')
    await servers.run('pg_restore', [...at, '-d', 'restored', '--exit-on-error', file])
    const arrived = new Set<unknown>()
    observer.always((call) => {
      arrived.add(call.received.headers['webhook-id'])
      return noContent()(call)
    })
    const after = await start(server, 'restored')
    try {
      await expectToServe(after, exchanges)
      const pending = "select from deliveries where status in ('pending', 'failed')"
      const waiting = await server.query(pending, 'restored')
      console.log(`restored from pg_dump: ${exchanges} exchanges, ${waiting.length} deliveries pending`)
      await eventually(() => told.every(({ id }) => arrived.has(id)), { timeoutMs: 60_000, everyMs: 50 })
      console.log(`pending deliveries that arrived after the restore: ${told.length} of ${exchanges}`)
    } finally {
      await after.close()
    }
  })

  it('under another master key the start is refused, in one line', async () => {
    const environment = { DATABASE_URL: server.url('restored'), ADMIN_TOKEN, PORT: '0' }
    const other = runRelevo(['serve'], { ...environment, MASTER_KEY: randomBytes(32).toString('base64') })
    expect(await other.ended()).toBe(1)
    const lines = other
      .output()
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('{'))
    expect(lines).toEqual(['MASTER_KEY does not open the stored flow keys'])
  })

  it('restored from a base backup and WAL: what was answered up to the loss of the machine is there', async () => {
    const serving = await start(server, 'restored')
    const backup = await servers.baseBackup(server)
    // After the backup: only the WAL has these.
    const late: string[] = []
    for (let exchange = 0; exchange < exchanges; exchange++) {
      const flowToken = `late-${exchange}`
      await account.meta.init(flowToken, { at: endpointOf(serving) })
      late.push(flowToken)
    }
    await serving.exchanges(account, 2 * exchanges + 1, 30_000)
    const [ended] = await server.query('select pg_walfile_name(pg_switch_wal()) as wal')
    const archived = () => server.query(`select from pg_stat_archiver where last_archived_wal >= '${ended?.wal}'`)
    await eventually(async () => (await archived()).length === 1, { timeoutMs: 30_000, everyMs: 100 })
    await serving.close()
    await server.kill()

    const recovered = await servers.recover(backup, `cp ${servers.folder}/%f %p`)
    const rows = await recovered.query('select flow_token from exchanges', 'restored')
    expect(rows.map(({ flow_token }) => flow_token)).toEqual(expect.arrayContaining(late))
    const after = await start(recovered, 'restored')
    const { answer } = await account.meta.init('after', { at: endpointOf(after) })
    await after.close()
    expect(answer.screen).toBe('NEXT')
    console.log(
      `restored from a base backup and WAL: ${late.length} of ${late.length} exchanges answered after the backup are there`,
    )
  })

  const endpointOf = ({ url }: TestRelevo) => `${url}/api/whatsapp/flows/${account.wabaId}/data`

  /** The flow key and the app secret open, the webhook is signed with its old secret, the log is there. */
  async function expectToServe(relevo: TestRelevo, count: number): Promise<void> {
    const { answer } = await account.meta.init('after the restore', { at: endpointOf(relevo) })
    expect(answer.screen).toBe('NEXT')
    const call = tenant.received.at(-1)
    const signature = createHmac('sha256', secret)
      .update(call?.rawBody ?? '')
      .digest('hex')
    expect(call?.headers['x-webhook-signature']).toBe(`sha256=${signature}`)
    await relevo.exchanges(account, count + 1, 30_000)
  }
})
