import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase, statementsOf, storing } from '../../../src/storage/database.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

/**
 * Connections that end at a bad moment. postgres.js 3.4.9 then throws where nobody can catch it, which ends a process; here it would fail the
 * run as an unhandled error.
 */
let made: TestDatabase
let proxy: TcpProxy
let database: Database

beforeEach(async () => {
  made = await createTestDatabase()
  proxy = await startProxy(made.settings.url)
  database = openDatabase({ ...made.settings, url: proxy.url })
})
afterEach(async () => {
  await database.close()
  await proxy.close()
  await made.drop()
})

const end = { kind: 'truncate', afterBytes: 0 } as const
const loss = expect.objectContaining({ sqlState: 'CONNECTION_CLOSED', unavailable: true })

describe('a connection that the server closes', () => {
  it('in a transaction: it fails, and so does what is said after it', async () => {
    const after: unknown[] = []
    const work = () =>
      database.sql.begin(async (tx) => {
        await tx`select 1`
        proxy.fault({ toClient: end }, 'live')
        await tx`select pg_sleep(5)`.catch((error: unknown) => after.push(error))
        await tx`select 2`.catch((error: unknown) => after.push(error))
        throw new Error('the transaction is over')
      })
    await expect(storing('work', work)).rejects.toThrow(loss)
    await expect.poll(() => after).toMatchObject([{ code: 'CONNECTION_CLOSED' }, { code: 'CONNECTION_CLOSED' }])
    expect(await database.sql`select 3 as three`).toMatchObject([{ three: 3 }])
  })

  it('wherever in its first bytes: what was asked fails or is asked again, nothing else', async () => {
    for (let afterBytes = 50; afterBytes < 1500; afterBytes += 100) {
      proxy.fault({ toClient: { kind: 'reset', afterBytes } })
      const client = openDatabase({ ...made.settings, url: proxy.url })
      await client.sql`select ${['a']}::text[]`.catch((error: unknown) => expect(error).toHaveProperty('code'))
      await client.close()
    }
  })

  it('in a script with a transaction of its own: the pool goes on', async () => {
    const { executeSql } = statementsOf(database.work)
    const script = executeSql('begin; select pg_sleep(5); commit')
    const admin = postgres(made.url, { max: 1 })
    await eventually(async () => {
      const [found] = await admin`select from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query like '%pg_sleep%'`
      return found
    })
    await admin.end()
    proxy.fault({ toClient: end }, 'live')
    await expect(script).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
    for (let times = 0; times < 5; times++) expect(await database.work`select 3 as three`).toHaveLength(1)
  })
})
