import postgres from 'postgres'
import { inject } from 'vitest'

export interface TestDatabase {
  readonly url: string
  /** Ends whatever sessions are left. Not calling it keeps the database until the run ends, which then prints its name. */
  drop(): Promise<void>
}

let made = 0

/** A database with all migrations applied: a copy of the run's template. */
export function createTestDatabase(): Promise<TestDatabase> {
  return create(inject('testDatabasePrefix'))
}

/** A database with nothing in it, for tests of the migrations themselves. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return create('template0')
}

async function create(template: string): Promise<TestDatabase> {
  // The pid, because test files run in processes of their own.
  const name = `${inject('testDatabasePrefix')}_${process.pid}_${++made}`
  await asAdmin((admin) => admin`create database ${admin(name)} template ${admin(template)}`)
  const url = new URL(inject('testServerUrl'))
  url.pathname = `/${name}`
  return {
    url: url.href,
    drop: () => asAdmin((admin) => admin`drop database if exists ${admin(name)} with (force)`),
  }
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
