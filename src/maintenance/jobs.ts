import { dayMs } from '../domain/day.ts'
import { disableAfterMs } from '../domain/delivery.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import type { Database } from '../storage/database.ts'
import { emptyDefault, freeDefault } from '../storage/default-partition.ts'
import { measureQueue } from '../storage/deliveries.ts'
import { expireFlowResponses } from '../storage/expiry.ts'
import { expungeAgain } from '../storage/expunge-again.ts'
import { deleteOldRows } from '../storage/old-rows.ts'
import {
  defaultRows,
  dropPartition,
  listPartitions,
  makePartitionsAhead,
  type Partition,
  type PartitionedTable,
  partitionedTables,
} from '../storage/partitions.ts'
import { eachPastFailures } from '../storage/past-failures.ts'
import { emptyPayloads } from '../storage/payload-retention.ts'
import { databaseTime } from '../storage/server-facts.ts'
import { deleteStatsBefore, rollUp } from '../storage/stats-roll-up.ts'
import { deleteWorkspacesAgain } from '../storage/workspace-deletion.ts'
import { lookAgainEveryMs, lookingAgain } from './looking-again.ts'
import type { Job } from './maintenance.ts'

export interface JobParts {
  /** `work` is asked for at each use: the pool is renewed when the database was away. */
  readonly database: Database
  readonly log: Log
  readonly metrics: Pick<Metrics, 'defaultPartitionRows' | 'queueMeasured'>
  readonly payloadDays: number
  readonly logDays: number
  readonly now?: () => Date
  /** The database's clock, unless given. */
  readonly databaseNow?: () => Promise<Date>
}

const second = 1000
const minute = 60 * second
const hour = 60 * minute

/** Days for which partitions are made ahead: so long nobody may be able to make them. */
const daysAhead = 3
/** Meta repeats itself for 7 days: protocol.md 5.2. */
const metaEventDays = 8
/** Statistics hold no payload, and say whether a webhook answered in the days after which its deliveries would end. */
const leastStatsMs = disableAfterMs + dayMs
/** Up to so many deliveries are counted: some 20 ms, and by then the figure has said what it has to say. */
const mostMeasured = 100_000

/** Partitions of the coming days, made where they are missing; every process does it once before it listens, and moves no row. */
export async function preparePartitions({ database, now = () => new Date() }: JobParts): Promise<void> {
  await database.onOwnConnection((sql) => makePartitionsAhead(sql, now(), daysAhead))
}

/** All that one process does for all (contract.md §2 retention, §4 expiry, §7). */
export function createJobs(parts: JobParts): Job[] {
  const { database, log, metrics, payloadDays, logDays } = parts
  /** Of partitions whose day is not over: before when this process has emptied all. Whoever is elected next begins anew. */
  const emptiedBefore = new Map<string, Date>()
  const againParts = { database, soundNow: () => soundNow(parts) }
  const msAgo = async (ms: number) => new Date((await soundNow(parts)).getTime() - ms)
  return [
    { name: 'make_partitions', everyMs: hour, run: () => preparePartitions(parts) },
    { name: 'default_partitions', everyMs: minute, run: (signal) => emptyDefaults(parts, signal) },
    {
      name: 'drop_partitions',
      everyMs: hour,
      run: async (signal) => dropOld(parts, await msAgo(logDays * dayMs), signal),
    },
    {
      name: 'empty_payloads',
      everyMs: hour,
      run: async (signal) => emptyOld(parts, await msAgo(payloadDays * dayMs), emptiedBefore, signal),
    },
    {
      name: 'delete_old_rows',
      everyMs: hour,
      run: async (signal) => {
        const logMs = logDays * dayMs
        const tables = [
          async () => deleteOldRows(database.work, 'meta_events', await msAgo(metaEventDays * dayMs), signal),
          async () => deleteOldRows(database.work, 'expunges', await msAgo(logMs), signal),
          // Of processes that died: nobody is shown them after seconds.
          async () => deleteOldRows(database.work, 'webhook_breakers', await msAgo(hour), signal),
          async () => deleteStatsBefore(database.work, await msAgo(Math.max(logMs, leastStatsMs)), signal),
        ]
        await eachPastFailures(tables, (deleteOld) => deleteOld(), signal)
      },
    },
    {
      name: 'measure_queue',
      everyMs: 15 * second,
      run: async () => {
        const { depth, ageSeconds } = await measureQueue(database.work, mostMeasured)
        metrics.queueMeasured(depth, ageSeconds)
      },
    },
    { name: 'roll_up_stats', everyMs: 30 * second, run: (signal) => rollUpAll(parts, signal) },
    { name: 'expire_flow_responses', everyMs: 5 * second, run: (signal) => expire(parts, signal) },
    {
      name: 'expunge_again',
      everyMs: lookAgainEveryMs,
      run: lookingAgain(againParts, expungeAgain, (rows) =>
        log.info({ rows }, 'rows that were on their way when their person was expunged are emptied'),
      ),
    },
    {
      name: 'delete_workspaces_again',
      everyMs: lookAgainEveryMs,
      run: lookingAgain(againParts, deleteWorkspacesAgain, (rows) =>
        log.info({ rows }, 'rows that were on their way when their workspace was deleted are removed'),
      ),
    },
  ]
}

/** The earlier of this process's time and the database's: a clock that leaps ahead must not take what is not old yet. */
async function soundNow({ database, now = () => new Date(), databaseNow }: JobParts): Promise<Date> {
  const theirs = await (databaseNow?.() ?? databaseTime(database.work))
  return new Date(Math.min(now().getTime(), theirs.getTime()))
}

/** Rows in a default partition tell of a day without one of its own. They get one, and somebody should look why. */
function emptyDefaults(
  { database, log, metrics, now = () => new Date() }: JobParts,
  signal: AbortSignal,
): Promise<void> {
  const ofTable = async (table: PartitionedTable): Promise<void> => {
    await freeDefault(database.work, table)
    const days = await defaultRows(database.work, table)
    const rows = days.reduce((sum, day) => sum + day.rows, 0)
    metrics.defaultPartitionRows(table, rows)
    if (rows === 0) return
    log.error({ table, rows, days: days.length }, 'rows came for days without a partition: it is made now')
    await database.onOwnConnection((sql) => emptyDefault(sql, table, days, now(), signal))
  }
  return eachPastFailures(partitionedTables, ofTable, signal)
}

/** Drops what is older than the log is kept. Attempts stay with the deliveries of their day and earlier ones that are there yet. */
async function dropOld({ database, log }: JobParts, before: Date, signal: AbortSignal): Promise<void> {
  const old = (await listPartitions(database.work)).filter(({ until }) => until <= before.getTime())
  const isDelivery = ({ table }: Partition) => table === 'deliveries'
  const deliveriesFirst = old.toSorted((a, b) => Number(isDelivery(b)) - Number(isDelivery(a)))
  const kept = new Set(old.filter(isDelivery))
  const drop = async (partition: Partition): Promise<void> => {
    const isNeeded = [...kept].some(({ from }) => (from ?? 0) < partition.until)
    if (partition.table === 'attempts' && isNeeded) return
    if (!(await dropPartition(database.work, partition))) return
    kept.delete(partition)
    log.info({ partition: partition.name }, 'a partition was dropped by age')
  }
  await eachPastFailures(deliveriesFirst, drop, signal)
}

async function emptyOld(
  { database, log }: JobParts,
  before: Date,
  emptiedBefore: Map<string, Date>,
  signal: AbortSignal,
): Promise<void> {
  const partitions = await listPartitions(database.work)
  const old = partitions.filter(({ isEmptied, from }) => !isEmptied && (from ?? 0) < before.getTime())
  const empty = async (partition: Partition): Promise<void> => {
    const { name, until } = partition
    const rows = await emptyPayloads(database.work, partition, before, signal, emptiedBefore.get(name))
    if (until <= before.getTime()) emptiedBefore.delete(name)
    else if (!signal.aborted) emptiedBefore.set(name, before)
    if (rows > 0) log.info({ partition: name, rows }, 'payloads were emptied by age')
  }
  await eachPastFailures(old, empty, signal)
}

/** Passes until there is nothing left to do. */
async function rollUpAll({ database, now = () => new Date() }: JobParts, signal: AbortSignal): Promise<void> {
  let isBehind = true
  while (isBehind && !signal.aborted) ({ isBehind } = await rollUp(database.work, now(), database.backend))
}

async function expire(parts: JobParts, signal: AbortSignal): Promise<void> {
  const { database, log } = parts
  const now = await soundNow(parts)
  while (!signal.aborted) {
    const { found, expired } = await expireFlowResponses(database.work, now)
    if (expired > 0) log.debug({ rows: expired }, 'flow responses expired')
    // What was found and not expired is in another's hands: the next pass sees.
    if (expired === 0 || expired < found) return
    if (found < 1000) return
  }
}
