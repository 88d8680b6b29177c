import { Queue } from '../events/queue.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { countPendingMigrations } from '../storage/migrate.ts'
import { serverFacts } from '../storage/server-facts.ts'
import type { SeenClock } from './clock.ts'
import { type Finding, findingsOf } from './finding.ts'

const server = findingsOf('database')
const migrations = findingsOf('migrations')

/** The oldest that the tests run on. */
const oldestMajor = 15

export interface DatabaseChecked {
  readonly findings: readonly Finding[]
  readonly clock: SeenClock | null
  readonly isUsable: boolean
}

/** Whether the database is there, fit, and what this release needs. Never throws what the database does. */
export async function checkDatabase(database: Database): Promise<DatabaseChecked> {
  const started = performance.now()
  try {
    const { version, major, isStandby, now } = await serverFacts(database.sql)
    const ours = Date.now()
    const took = performance.now() - started
    const clock = { of: 'the database', theirs: now, ours }
    const seen = `PostgreSQL ${version}, ${took.toFixed(0)} ms with connecting`
    const finding = isStandby
      ? server.fail(`${seen}, is a standby`, 'name the primary in DATABASE_URL, or all hosts of the cluster')
      : major < oldestMajor
        ? server.warn(seen, `Relevo is tested from PostgreSQL ${oldestMajor} on: upgrade it`)
        : server.ok(seen)
    const migrated = await checkMigrations(database)
    return { findings: [finding, migrated], clock, isUsable: migrated.level === 'ok' }
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    const advice =
      'look at DATABASE_URL, the network and the server; exchanges go on meanwhile, from memory and to the spool'
    const away = server.fail(`cannot be asked (${error.sqlState ?? 'unknown'})`, advice)
    return { findings: [away, migrations.warn('not checked', 'see database')], clock: null, isUsable: false }
  }
}

async function checkMigrations(database: Database): Promise<Finding> {
  const pending = await countPendingMigrations(database.sql)
  if (pending > 0) return migrations.fail(`${pending} are missing`, 'run `relevo migrate`')
  if (!(await isQueueCurrent(database))) return migrations.fail("the queue's are missing", 'run `relevo migrate`')
  return migrations.ok('all are applied')
}

async function isQueueCurrent(database: Database): Promise<boolean> {
  const queue = new Queue(database)
  try {
    return await queue.isCurrent()
  } finally {
    await queue.close()
  }
}
