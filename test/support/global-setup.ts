import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../src/migrate.ts'
import { plantCluster } from './planted-cluster.ts'
import { startTestServer } from './test-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A server for tests; the path names its maintenance database. */
    readonly testServerUrl: string
    /** A DATA_DIR to copy, with a cluster that is stopped; null where the server is one of TEST_DATABASE_URL. */
    readonly plantedDataDir: string | null
    /** A PgBouncer in transaction mode before it, if this run is to go through one. */
    readonly testPoolerUrl: string | null
    /** Begins the name of each database of this run; the bare prefix is the migrated template. */
    readonly testDatabasePrefix: string
  }
}

/** One server and one migrated template for the whole run: TEST_DATABASE_URL's, or an embedded one in a fresh folder. */
export default async function setup(project: Pick<TestProject, 'provide'>): Promise<() => Promise<void>> {
  const given = process.env.TEST_DATABASE_URL
  const planted = given ? null : await plantCluster()
  const server = given ? { url: given, end: async () => undefined } : await startTestServer(planted)
  const admin = postgres(server.url, { max: 1, onnotice: () => undefined })
  const prefix = `relevo_test_${randomBytes(4).toString('hex')}`
  const teardown = async () => {
    try {
      await dropTemplate(admin, prefix)
      await reportLeftovers(admin, prefix)
    } finally {
      await admin.end({ timeout: 1 })
      await server.end()
    }
  }
  try {
    await createTemplate(admin, server.url, prefix)
  } catch (error) {
    await teardown()
    throw error
  }
  project.provide('testServerUrl', server.url)
  project.provide('plantedDataDir', planted)
  project.provide('testPoolerUrl', null)
  project.provide('testDatabasePrefix', prefix)
  return teardown
}

async function createTemplate(admin: postgres.Sql, serverUrl: string, name: string): Promise<void> {
  await admin`create database ${admin(name)}`
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  await migrate(url.href)
  // Nobody may connect from here on: a template with a session cannot be copied.
  await admin`alter database ${admin(name)} with is_template true allow_connections false`
}

async function dropTemplate(admin: postgres.Sql, name: string): Promise<void> {
  const [template] = await admin`select from pg_database where datname = ${name}`
  if (template === undefined) return
  await admin`alter database ${admin(name)} with is_template false`
  await admin`drop database ${admin(name)} with (force)`
}

/** Databases of this run that no test dropped: one failed before it could. On a server of TEST_DATABASE_URL they stay. */
async function reportLeftovers(admin: postgres.Sql, prefix: string): Promise<void> {
  const left = await admin`select datname from pg_database where starts_with(datname, ${`${prefix}_`})`
  for (const { datname } of left) console.warn(`a test left its database: ${datname}`)
}
