import { getConstructionPlans, getMigrationPlans, PgBoss } from 'pg-boss'
import { asynchronousDeadlineMs } from '../domain/delivery.ts'
import { type Database, type DatabaseBackend, type Statements, statementsOf, storing } from '../storage/database.ts'
import { migrating } from '../storage/migrate.ts'

const schema = 'relevo_queue'
const queueName = 'deliveries'

/**
 * A process that died no longer says that its attempts live; after so long another takes them up. With the passes of
 * {@link Queue.supervise} 15 s apart that is within 30 s: contract.md §4 promises 45.
 */
export const heartbeatSeconds = 15
/** How often a living process says so, ms. */
export const heartbeatMs = 5000
/** Even a process that says so must end an attempt some time, ms: what it takes, its wait for a place and its writing down included. */
export const leaseMs = 60_000
export const superviseMs = 15_000

/**
 * Where in the queue an alarm stands: `front` for first attempts, `back` for retries, and for a webhook for which many wait already. PostgreSQL
 * walks past alarms that may not be taken yet; those in front never stand behind them.
 */
export type AlarmPlace = 'front' | 'back'
const priorities = { front: 0, back: -1 } as const

/** When a delivery's next attempt is due. The row in `deliveries` is the truth, this its alarm clock. */
export interface Alarm {
  readonly deliveryId: string
  readonly workspaceId: string
  readonly webhookId: string
  /** Null: now. */
  readonly dueAt: Date | null
  readonly place: AlarmPlace
}

export interface RungAlarm {
  readonly deliveryId: string
  readonly workspaceId: string
  readonly webhookId: string
}

export interface TakeOptions {
  readonly place: AlarmPlace
  readonly limit: number
  /** How many of one webhook may be under way, in all processes. */
  readonly perWebhook: number
  readonly exceptWebhooks: readonly string[]
}

/**
 * The queue of asynchronous deliveries on pg-boss (docs/adr/0003-asynchronous-deliveries.md): at most one alarm per delivery, named by its id.
 * All methods may throw what the driver throws.
 */
export class Queue {
  readonly backend: DatabaseBackend
  readonly #boss: PgBoss
  #starting: Promise<PgBoss> | null = null

  constructor(database: Database) {
    // Looked up at each statement: the pool is renewed when the database was away.
    const work: Statements = { executeSql: (text, values) => statementsOf(database.work).executeSql(text, values) }
    this.backend = database.backend
    this.#boss = bossOn(work, database.backend)
  }

  /** Sets alarms in the transaction that `statements` runs in; one that is set stays as it is. */
  async set(statements: Statements, alarms: readonly Alarm[]): Promise<void> {
    if (alarms.length === 0) return
    const jobs = alarms.map(({ deliveryId, workspaceId, webhookId, dueAt, place }) => ({
      id: deliveryId,
      priority: priorities[place],
      data: { workspaceId },
      group: { id: webhookId },
      ...(dueAt === null ? {} : { startAfter: dueAt }),
    }))
    await (await this.#started()).insert(queueName, jobs, { db: statements })
  }

  /** Takes alarms that ring. Each is kept from others until it is removed or not kept alive, for {@link leaseMs} at most. */
  async take({ place, limit, perWebhook, exceptWebhooks }: TakeOptions): Promise<RungAlarm[]> {
    const bound = place === 'front' ? { minPriority: priorities.front } : { maxPriority: priorities.back }
    const options = { batchSize: limit, groupConcurrency: perWebhook, ignoreGroups: [...exceptWebhooks], ...bound }
    const boss = await this.#started()
    const jobs = await boss.fetch<{ workspaceId: string }>(queueName, options)
    return jobs.map(({ id, data, groupId }) => ({
      deliveryId: id,
      workspaceId: data.workspaceId,
      webhookId: groupId ?? '',
    }))
  }

  /** Says that these are still under way. */
  async keepAlive(deliveryIds: readonly string[]): Promise<void> {
    if (deliveryIds.length > 0) await (await this.#started()).touch(queueName, [...deliveryIds])
  }

  /** Removes alarms in the transaction that `statements` runs in, so that they can be set anew. */
  async remove(statements: Statements, deliveryIds: readonly string[]): Promise<void> {
    if (deliveryIds.length > 0) await (await this.#started()).deleteJob(queueName, [...deliveryIds], { db: statements })
  }

  /** Has alarms ring again whose process died. Any process may call it, at any time: they take turns in the database. */
  async supervise(): Promise<void> {
    await (await this.#started()).supervise(queueName)
  }

  /** Whether the queue's tables are those of this release. Throws StorageError where the database cannot be asked. */
  isCurrent(): Promise<boolean> {
    const ask = () =>
      this.#started().then(
        () => true,
        (error: unknown) => (isOfDatabase(error) ? Promise.reject(error) : false),
      )
    return storing('check queue', ask)
  }

  /** Makes ready for transactions: what must be read first is not read while they hold the connections. Throws what the driver throws. */
  async ready(): Promise<void> {
    await this.#started()
  }

  async close(): Promise<void> {
    await this.#starting?.catch(() => undefined)
    await this.#boss.stop({ graceful: false, close: false })
  }

  /** At first use, because the database may be away when the process starts. pg-boss then checks its tables. */
  #started(): Promise<PgBoss> {
    this.#starting ??= this.#boss.start().catch((error: unknown) => {
      this.#starting = null
      throw error
    })
    return this.#starting
  }
}

/** On Citus its tables are the coordinator's own, and pg-boss does as on PostgreSQL: that is what its profile says. */
function bossOn(statements: Statements, backend: DatabaseBackend): PgBoss {
  if (leaseMs <= asynchronousDeadlineMs || heartbeatMs * 2 >= heartbeatSeconds * 1000) {
    throw new Error('a lease must be longer than the longest attempt')
  }
  const boss = new PgBoss({
    db: statements,
    backend,
    schema,
    migrate: false,
    supervise: false,
    schedule: false,
    superviseIntervalSeconds: superviseMs / 1000,
    monitorIntervalSeconds: 10,
    maintenanceIntervalSeconds: 600,
    // Its warnings are for its own table: what an operator is to watch is in our metrics.
    warningQueueSize: 10_000_000,
  })
  // An EventEmitter throws an error that nobody listens to; whoever called gets it as a rejection.
  boss.on('error', () => undefined)
  return boss
}

/** Makes or updates the queue's tables. Throws StorageError. */
export function migrateQueue(url: string, backend: DatabaseBackend = 'postgres'): Promise<void> {
  return migrating(url, 'migrate queue', async (client) => {
    const statements = statementsOf(client)
    const boss = bossOn(statements, backend)
    const version = (await boss.isInstalled()) ? await boss.schemaVersion() : null
    if (version === null) await statements.executeSql(getConstructionPlans(schema, { backend }))
    // Plans that are printed build their indexes at once; pg-boss's own migration would leave that to a worker of its own.
    else if (!(await isCurrent(boss))) await statements.executeSql(getMigrationPlans(schema, version, { backend }))
    await boss.createQueue(queueName, {
      heartbeatSeconds,
      expireInSeconds: leaseMs / 1000,
      // A process that dies is no failure of the delivery: pg-boss may ring as often as it takes.
      retryLimit: 1_000_000,
      retryDelay: 0,
      retentionSeconds: 30 * 86_400,
    })
  })
}

/** pg-boss starts on tables of its own release only. */
async function isCurrent(boss: PgBoss): Promise<boolean> {
  try {
    await boss.start()
    return true
  } catch (error) {
    if (isOfDatabase(error)) throw error
    return false
  } finally {
    await boss.stop({ graceful: false, close: false })
  }
}

/** pg-boss's own complaints have no code. */
function isOfDatabase(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code !== 'ERR_ASSERTION'
}
