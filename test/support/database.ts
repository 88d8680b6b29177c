import postgres from 'postgres'
import { inject } from 'vitest'
import type { DatabaseOptions } from '../../src/storage/database.ts'

export interface TestDatabase {
  /** Straight to the server. */
  readonly url: string
  /** As Relevo is to open it: through the pooler of `npm run test:pgbouncer`, else the same. */
  readonly settings: DatabaseOptions
  /** Ends whatever sessions are left. Not calling it keeps the database until the run ends, which then prints its name. */
  drop(): Promise<void>
}

let made = 0

/** A database with all migrations applied: a copy of the run's template. */
export function createTestDatabase(): Promise<TestDatabase> {
  return create(inject('testDatabasePrefix'))
}

/** A database with nothing in it, for tests of the migrations themselves. `language`: text is ordered as in it, and not by its bytes. */
export function createEmptyDatabase(language: string | null = null): Promise<TestDatabase> {
  return create('template0', language)
}

async function create(template: string, language: string | null = null): Promise<TestDatabase> {
  // The pid, because test files run in processes of their own.
  const name = `${inject('testDatabasePrefix')}_${process.pid}_${++made}`
  await asAdmin((admin) => {
    const ordering = language === null ? admin`` : admin`locale_provider icu icu_locale ${admin(language)}`
    return admin`create database ${admin(name)} template ${admin(template)} ${ordering}`
  })
  const url = databaseAt(inject('testServerUrl'), name)
  const pooler = inject('testPoolerUrl')
  return {
    url,
    settings:
      pooler === null ? { url, prepare: true } : { url: databaseAt(pooler, name), directUrl: url, prepare: false },
    drop: () => asAdmin((admin) => admin`drop database if exists ${admin(name)} with (force)`),
  }
}

function databaseAt(serverUrl: string, name: string): string {
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return url.href
}

async function asAdmin(work: (admin: postgres.Sql) => PromiseLike<unknown>): Promise<void> {
  const connection = { statement_timeout: 20_000 }
  const admin = postgres(inject('testServerUrl'), { max: 1, connection, onnotice: () => undefined })
  try {
    await work(admin)
  } finally {
    await admin.end({ timeout: 1 })
  }
}
