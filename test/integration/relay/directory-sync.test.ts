import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readMasterKeys } from '../../../src/crypto/sealed-secret.ts'
import { Unsealer } from '../../../src/events/webhook-signing.ts'
import { Directory } from '../../../src/relay/directory.ts'
import { DirectorySync } from '../../../src/relay/directory-sync.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { createWorkspace } from '../../../src/storage/workspaces.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { startProxy, type TcpProxy } from '../../support/tcp-proxy.ts'

// contract.md §2 DATABASE_DIRECT_URL, §8: notifications are a hint, comparing is the truth.
const never = 3_600_000
let made: TestDatabase
let proxy: TcpProxy
let sql: postgres.Sql
const lines: string[] = []
const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })

beforeAll(async () => {
  made = await createTestDatabase()
  sql = postgres(made.url, { max: 1 })
})
beforeEach(async () => {
  lines.length = 0
  proxy = await startProxy(made.url)
})
afterAll(async () => {
  await sql.end()
  await made.drop()
})

interface Listener {
  /** The session's process. */
  readonly pid: number
  /** What the session says of itself. */
  readonly name: string
}

async function listeners(): Promise<Listener[]> {
  return await sql<Listener[]>`
    select pid, application_name as name from pg_stat_activity
    where datname = current_database() and query ilike 'listen %'`
}

const isListening = async () => (await listeners()).some(({ name }) => name === 'direct')

/** A directory on this database that listens through the proxy. */
async function withSync(pollMs: number, listenMs: number, work: (synced: Synced) => Promise<void>): Promise<void> {
  const directUrl = new URL(proxy.url)
  directUrl.searchParams.set('application_name', 'direct')
  const database = openDatabase({ url: made.url, directUrl: directUrl.href, prepare: true })
  const unsealer = new Unsealer(readMasterKeys(randomBytes(32).toString('base64')), () => undefined)
  const directory = new Directory(unsealer, { forget: () => undefined, closeBreaker: () => undefined })
  const checks = { beforeFirstLoad: async () => undefined, firstLoad: () => undefined, refused: () => undefined }
  const sync = new DirectorySync(database, directory, log, checks, { pollMs, listenMs })
  const knows = async (name: string) => {
    const { id } = await createWorkspace(database, name)
    await eventually(() => !directory.outdated(new Map([[id, 1]])).includes(id) && knownOf(directory).includes(id))
  }
  try {
    await sync.start()
    expect(directory.loaded).toBe(true)
    await work({ database, directory, knows })
  } finally {
    await sync.close()
    await database.close()
    await proxy.close()
  }
}

interface Synced {
  readonly database: Database
  readonly directory: Directory
  /** Resolves once the directory knows a workspace that is made now. */
  knows(name: string): Promise<void>
}

const knownOf = (directory: Directory) => directory.outdated(new Map())

it('notifications come over the direct URL, and nothing else does', async () => {
  await withSync(never, never, async ({ knows }) => {
    expect(await listeners()).toMatchObject([{ name: 'direct' }])
    await knows('heard')
    expect(proxy.openConnections).toBe(1)
  })
})

it('where nobody answers there, it loads all the same, finds changes by comparing, and listens once it can', async () => {
  await proxy.cut()
  await withSync(20, never, async ({ knows }) => {
    expect(await listeners()).toEqual([])
    await knows('compared')
    expect(lines.filter((line) => line.startsWith('no notifications are heard'))).toHaveLength(1)
    await proxy.restore()
    await eventually(isListening)
  })
})

it('a connection that the driver gave up in silence is replaced', async () => {
  await withSync(20, 50, async () => {
    await proxy.cut()
    await eventually(async () => (await listeners()).length === 0)
    await proxy.restore()
    await eventually(isListening)
  })
})

it('another primary is listened to within a comparison: the old one need not end its connections', async () => {
  await withSync(20, never, async ({ database }) => {
    const [before] = await listeners()
    await eventually(() => {
      const pool = database.sql
      database.renew()
      return database.sql !== pool
    })
    await eventually(async () => {
      const [now, ...others] = await listeners()
      return now !== undefined && others.length === 0 && now.pid !== before?.pid
    })
  })
})

/** As after a switch-over to a server that lacked the last changes. */
describe('a database that lost the tail of its changes', () => {
  const lost = 'the database has an older configuration than was in force: it lost changes, and they are no longer'
  const setVersion = (id: string, version: number) =>
    sql`update workspaces set config_version = ${version} where id = ${id}`
  /** Made before anybody listens: its notification could be followed as late as after the first change that tells of itself to nobody. */
  const madeBefore = async () => {
    const before = openDatabase({ url: made.url, directUrl: made.url, prepare: true })
    const { id } = await createWorkspace(before, 'W')
    await before.close()
    return id
  }

  it('is followed back by comparing, once, and its next change is found', async () => {
    const id = await madeBefore()
    await withSync(20, never, async ({ directory }) => {
      const isAt = (version: number) => eventually(() => !directory.outdated(new Map([[id, version]])).includes(id))
      for (const version of [6, 4, 5]) {
        await setVersion(id, version)
        await isAt(version)
      }
      expect(lines.filter((line) => line === lost)).toHaveLength(1)
    })
  })

  it('is loaded anew where its versions have caught up meanwhile', async () => {
    // The server's own word for when it started, to be changed at will.
    await sql.unsafe(`
      create schema stand_in;
      create function stand_in.pg_postmaster_start_time() returns timestamptz language sql as $f$select timestamptz '2026-01-01'$f$;
      do $$ begin execute format('alter database %I set search_path = stand_in, pg_catalog, public', current_database()); end $$`)
    const id = await madeBefore()
    await withSync(20, never, async ({ database, directory }) => {
      await sql`insert into public.wabas (workspace_id, waba_id, verified) values (${id}, 'w1', true)`
      await setVersion(id, 5)
      await eventually(() => directory.waba('w1')?.verified === true)
      await sql`update public.wabas set verified = false where waba_id = 'w1'`
      await sql.unsafe(`
        create or replace function stand_in.pg_postmaster_start_time() returns timestamptz language sql
          as $f$select timestamptz '2026-01-02'$f$`)
      await eventually(() => directory.waba('w1')?.verified === false)
      // Not at each comparison: this change tells of itself to nobody.
      await sql`update public.wabas set verified = true where waba_id = 'w1'`
      const other = await createWorkspace(database, 'W')
      await setVersion(other.id, 9)
      await eventually(() => !directory.outdated(new Map([[other.id, 9]])).includes(other.id))
      expect(directory.waba('w1')?.verified).toBe(false)
    })
  })
})
