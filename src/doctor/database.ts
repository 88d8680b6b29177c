import { Queue } from '../events/queue.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { countPendingMigrations } from '../storage/migrate.ts'
import { locksOfDay } from '../storage/partitions.ts'
import { type ServerFacts, serverFacts } from '../storage/server-facts.ts'
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

/** Whether the database is there, fit for a log of so many days, and what this release needs. Never throws what the database does. */
export async function checkDatabase(database: Database, logDays: number): Promise<DatabaseChecked> {
  const started = performance.now()
  try {
    const facts = await serverFacts(database.sql)
    const { version, major, isStandby, now } = facts
    const ours = Date.now()
    const took = performance.now() - started
    const clock = { of: 'the database', theirs: now, ours }
    const seen = `PostgreSQL ${version}, ${took.toFixed(0)} ms with connecting`
    const finding = isStandby
      ? server.fail(`${seen}, is a standby`, 'name the primary in DATABASE_URL, or all hosts of the cluster')
      : major < oldestMajor
        ? server.warn(seen, `Relevo is tested from PostgreSQL ${oldestMajor} on: upgrade it`)
        : hasTooFewLocks(facts, logDays)
          ? server.warn(
              `${seen}, max_locks_per_transaction of ${facts.locksPerSession}`,
              `too few for LOG_RETENTION_DAYS of ${logDays}: set it to ${3 * logDays} and restart the server (docs/database.md)`,
            )
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

/** A quarter of what there is room for: several sessions hold locks on the same tables at once, each its own. */
function hasTooFewLocks({ locksPerSession, sessions }: ServerFacts, logDays: number): boolean {
  return logDays * locksOfDay > (locksPerSession * sessions) / 4
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
