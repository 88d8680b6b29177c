import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { noContent, reply } from '../support/tenant-behaviours.ts'
import { hasPgBouncer, showPgBouncer } from './pgbouncer.ts'

if (!hasPgBouncer) console.warn('SKIPPED: nothing goes through PgBouncer (Debian: pgbouncer), which is not here')

describe.skipIf(!hasPgBouncer)('PgBouncer in transaction mode', () => {
  const exchanges = 50
  let pooler: string
  let database: TestDatabase
  let sql: postgres.Sql
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant
  let observer: FakeTenant

  beforeAll(async () => {
    pooler = inject('testPoolerUrl') ?? ''
    database = await createTestDatabase()
    sql = postgres(database.url, { max: 1 })
    relevo = await startRelevo({}, { database })
    account = await createAccount(relevo)
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    observer = await startTenant()
    observer.always(noContent())
    await createWebhook(relevo, account, tenant.url)
    await createWebhook(relevo, account, observer.url)
  })
  afterAll(async () => {
    await relevo.close()
    await tenant.close()
    await observer.close()
    await sql.end()
    await database.drop()
  })

  it('is what Relevo goes through', async () => {
    const settings = new Map((await showPgBouncer(pooler, 'config')).map(({ key, value }) => [key, value]))
    expect(settings.get('pool_mode')).toBe('transaction')
    const [version] = await showPgBouncer(pooler, 'version')
    console.log(`through ${version?.version}`)
  })

  it('exchanges at once are answered, and their deliveries arrive', async () => {
    const answers = await Promise.all(Array.from({ length: exchanges }, () => account.meta.init()))
    expect(answers.map(({ answer }) => answer.screen)).toEqual(answers.map(() => 'NEXT'))
    await eventually(() => observer.received.length >= exchanges, { timeoutMs: 30_000 })
    const rows = await relevo.exchanges(account, exchanges, 30_000)
    expect(rows.map(({ outcome }) => outcome)).toEqual(rows.map(() => 'replied'))
    const [stats] = (await showPgBouncer(pooler, 'stats')).filter(({ database: name }) =>
      database.url.endsWith(`/${name}`),
    )
    console.log(`${exchanges} exchanges and deliveries: ${stats?.total_xact_count} transactions through PgBouncer`)
    expect(Number(stats?.total_xact_count)).toBeGreaterThan(0)
  })

  it('Relevo listens past it, and no more than that', async () => {
    const sessions = await sql`select query from pg_stat_activity
      where datname = current_database() and application_name = 'relevo' and query ilike 'listen %'`
    expect(sessions).toHaveLength(1)
    const pooled = async () =>
      (await showPgBouncer(pooler, 'servers')).filter(({ database: name }) => database.url.endsWith(`/${name}`))
    const others = () => sql`select count(*)::int as count from pg_stat_activity
      where datname = current_database() and backend_type = 'client backend'
        and pid <> pg_backend_pid() and not query ilike 'listen %'`
    await eventually(async () => (await others())[0]?.count === (await pooled()).length)
  })
})
