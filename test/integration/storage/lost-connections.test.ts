import postgres from 'postgres'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Database, openDatabase, statementsOf, storing, transaction } from '../../../src/storage/database.ts'
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

/** Renews, as some seconds after the pools were opened, and lets these seconds pass. */
async function renew(seconds: number): Promise<void> {
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_000)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  database.renew()
  clock.mockRestore()
  await vi.advanceTimersByTimeAsync(1000 * seconds)
  vi.useRealTimers()
}

describe('pools that are replaced', () => {
  it('let what is under way end: somebody else’s timeout is no reason to cut it', async () => {
    const { work } = database
    await work`select 1`
    const statement = work`select pg_sleep(0.3)`.execute()
    const whole = transaction(database, 'work', async ({ orm }) => {
      await orm.execute('select pg_sleep(0.3)')
      return orm.execute('select 2 as two')
    })
    const admin = postgres(made.url, { max: 1 })
    await eventually(async () => {
      const found = await admin`select from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and query like '%pg_sleep%'`
      return found.length === 2
    })
    await admin.end()
    await renew(10)
    expect(await statement).toHaveLength(1)
    expect(await whole).toMatchObject([{ two: 2 }])
    await expect(work`select 1`).rejects.toMatchObject({ code: 'CONNECTION_ENDED' })
    expect(await database.work`select 3 as three`).toHaveLength(1)
  })

  it('connect no more: what waits for a server that closes without a word fails at once', async () => {
    proxy.fault({ toClient: end })
    const waiting = database.work`select 1`.execute()
    waiting.catch(() => undefined)
    await renew(1)
    await expect(waiting).rejects.toMatchObject({ code: expect.not.stringMatching('CONNECTION_DESTROYED') })
  })
})

it('who waits for somebody’s rows is told so before its time is over, and the database is there', async () => {
  const admin = postgres(made.url, { max: 1 })
  const lock = 'select pg_advisory_xact_lock(1)'
  await admin.begin(async (tx) => {
    await tx.unsafe(lock)
    const waiting = transaction(database, 'wait', ({ orm }) => orm.execute(lock), 1200)
    await expect(waiting).rejects.toMatchObject({ sqlState: '55P03', unavailable: false, contended: true })
  })
  await admin.end()
})
