import type postgres from 'postgres'
import { dayMs, dayOf, firstIdAt, nameOfDay, timeOfId } from '../domain/day.ts'
import { storing } from './database.ts'
import { eachPastFailures } from './past-failures.ts'

/** Tables that are partitioned by the day of their rows' ids. Each has a default partition besides, `<table>_default`, for rows of no other. */
export const partitionedTables = ['exchanges', 'deliveries', 'attempts'] as const
export type PartitionedTable = (typeof partitionedTables)[number]

export interface Partition {
  readonly table: PartitionedTable
  readonly name: string
  /** When its rows were made, Unix ms; from: inclusive, null for the beginning of time; until: exclusive. */
  readonly from: number | null
  readonly until: number
  /** Whether no payload is left in it. */
  readonly isEmptied: boolean
}

/** Tables and indexes of a day. Whoever looks into all days of one table locks up to six of each day. */
export const locksOfDay = 14

// Any number, the same in every process: those that change partitions take turns.
const lockId = 0x72_6c_76_70
/** For their turn, before which nobody else waits for them. */
const turnTimeout = '1s'
// For a lock that exchanges then wait for as well: half of what they give the database (contract.md §8). Whoever fails tries again later.
const lockTimeout = '100ms'
/** For one statement while such a lock is held, ms: rows and sessions wait for the longest of them, some three together, and give up after 5 s. */
export const heldMs = 1000
/** For all of them, ms. */
const changeMs = 30_000
/** For what holds nobody up, or cannot be done in pieces, ms. */
export const longMs = 600_000
const emptied = 'payloads emptied'
/**
 * By these no row is looked for. ANALYZE would read and sort them all the same, and comes by each minute on a day's first rows: two fifths of its time.
 * A setting of the partition's own: it is not handed on from the table. Payloads are not among them, as those that are left are looked for.
 */
const neverSought: Readonly<Record<PartitionedTable, readonly string[]>> = {
  exchanges: ['duration_ms', 'webhook_ms', 'late_reply_ms', 'timings', 'attempt', 'reason'],
  deliveries: ['resource_id', 'occurred_at', 'reason', 'attempts', 'failures', 'last_status', 'last_failure'],
  attempts: ['status', 'failure', 'duration_ms', 'connect_ms', 'head_ms', 'bytes'],
}

/** Without default partitions; of each table the oldest first. Throws StorageError. */
export function listPartitions(sql: postgres.ISql): Promise<Partition[]> {
  return storing('list partitions', async () => {
    const rows = await sql`
      select p.relname as table, c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds,
        obj_description(c.oid, 'pg_class') is not distinct from ${emptied} as is_emptied
      from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
      where p.oid = any(array[${partitionedTables}::text[]]::regclass[])`
    const partitions = rows.flatMap(({ table, name, bounds, is_emptied }): Partition[] => {
      const [, from, until] = /FROM \((?:MINVALUE|'([^']+)')\) TO \('([^']+)'\)/.exec(bounds) ?? []
      if (until === undefined) return []
      return [
        {
          table,
          name,
          from: from === undefined ? null : timeOfId(from),
          until: timeOfId(until),
          isEmptied: is_emptied,
        },
      ]
    })
    return partitions.sort((a, b) => a.until - b.until)
  })
}

/**
 * Makes the partition of a day, unless it is there or another covers the day. Rows of that day that are in the default partition are
 * moved, all at once. Returns how many. Throws StorageError: also where a lock is not to be had at once, and where a statement takes longer than
 * `statementMs`.
 */
export function makePartition(
  sql: postgres.Sql,
  table: PartitionedTable,
  day: number,
  statementMs = heldMs,
): Promise<number> {
  const name = `${table}_${nameOfDay(day)}`
  const [from, until] = [firstIdAt(day), firstIdAt(day + dayMs)]
  const make = async (tx: postgres.TransactionSql) => {
    if (covers(await listPartitions(tx), table, day)) return 0
    await tx.unsafe(`create table ${name} (like ${table} including defaults including constraints)`)
    // Before it is attached: of a table that it distributed Citus does not take this.
    const withoutStatistics = neverSought[table].map((column) => `alter column ${column} set statistics 0`)
    await tx.unsafe(`alter table ${name} ${withoutStatistics.join(', ')}`)
    // To attach takes this lock anyway, and a lesser one on the table itself than `create table … partition of` does.
    await tx.unsafe(`lock table ${table}_default in access exclusive mode`)
    // Two statements: Citus has no `insert` out of a `with … delete`.
    const ofDay = `from ${table}_default where id >= '${from}' and id < '${until}'`
    const { count } = await tx.unsafe(`insert into ${name} select * ${ofDay}`)
    if (count > 0) await tx.unsafe(`delete ${ofDay}`)
    await tx.unsafe(`alter table ${table} attach partition ${name} for values from ('${from}') to ('${until}')`)
    return count
  }
  return changing(sql, 'make partition', make, statementMs)
}

function covers(partitions: readonly Partition[], table: PartitionedTable, day: number): boolean {
  return partitions.some((p) => p.table === table && (p.from ?? day) <= day && day < p.until)
}

/**
 * Makes the partitions from the day of `now` to so many days later where they are missing, but for days whose rows wait in the default partition and
 * tables that have many rows there: exchanges would wait, and `emptyDefault` sees to them. Who fails holds up no other. Throws StorageError.
 */
export async function makePartitionsAhead(sql: postgres.Sql, now: Date, days: number): Promise<void> {
  const there = await listPartitions(sql)
  const ahead = Array.from({ length: days + 1 }, (_, n) => dayOf(now.getTime()) + n * dayMs)
  await eachPastFailures(partitionedTables, async (table) => {
    const missing = ahead.filter((day) => !covers(there, table, day))
    if (missing.length === 0) return
    const waiting = await defaultRows(sql, table)
    if (areMany(waiting)) return
    const free = missing.filter((day) => !waiting.some((waits) => waits.day === day))
    await eachPastFailures(free, (day) => makePartition(sql, table, day))
  })
}

/** Drops a partition with its rows; not one in which deliveries wait. Returns whether it is gone. Throws StorageError. */
export async function dropPartition(sql: postgres.Sql, { table, name }: Partition): Promise<boolean> {
  // Looked at before the lock too: everyone waits while it is held.
  if (table === 'deliveries' && (await hasWaiting(sql, name))) return false
  return changing(sql, 'drop partition', async (tx) => {
    // No `detach concurrently`: it refuses where there is a default partition.
    await tx.unsafe(`lock table only ${table} in access exclusive mode`)
    if (table === 'deliveries' && (await hasWaiting(tx, name))) return false
    await tx.unsafe(`drop table if exists ${name}`)
    return true
  })
}

async function hasWaiting(sql: postgres.ISql, name: string): Promise<boolean> {
  const [found] = await storing('look for waiting deliveries', () =>
    sql.unsafe(`select from ${name} where status in ('pending', 'failed') limit 1`),
  )
  return found !== undefined
}

/** Counted to the end a large table would take minutes, and the figure has said what it has to say. */
const mostCounted = 10_000

export interface DayRows {
  readonly day: number
  readonly rows: number
}

/**
 * How many rows of which days the default partition of a table has, the earliest first; of 10,000 of them where there are more, unless `all` are to be
 * read. There should be none. Throws StorageError.
 */
export function defaultRows(sql: postgres.Sql, table: PartitionedTable, all: 'all' | null = null): Promise<DayRows[]> {
  const count = async () => {
    const days = await sql.unsafe(`
      select ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / ${dayMs} as day, count(*)::int as rows
      from (select id from ${table}_default limit ${all ?? mostCounted}) counted group by 1 order by 1`)
    return days.map(({ day, rows }) => ({ day: Number(day) * dayMs, rows }))
  }
  return storing('count rows of the default partition', count, all === null ? undefined : longMs)
}

/** Whether there may be more than {@link defaultRows} counted. */
export function areMany(days: readonly DayRows[]): boolean {
  return days.reduce((sum, { rows }) => sum + rows, 0) >= mostCounted
}

/** Notes that no payload is left in a partition, if `isEmpty` finds none: rows that come late wait for it. Throws StorageError. */
export function noteEmptied(
  sql: postgres.Sql,
  { name }: Partition,
  isEmpty: (tx: postgres.TransactionSql) => Promise<boolean>,
): Promise<boolean> {
  return storing(
    'note emptied partition',
    async () => {
      const noted = await sql.begin(async (tx) => {
        await tx.unsafe(`lock table only ${name} in share update exclusive mode`)
        if (!(await isEmpty(tx))) return false
        // Kept with the partition: it ends with it, and whoever is elected next finds it.
        await tx.unsafe(`comment on table ${name} is '${emptied}'`)
        return true
      })
      return noted
    },
    longMs,
  )
}

/**
 * Takes back such notes for the partitions that rows with these ids go to, before they are written: rows out of a spool can be older than
 * payloads are kept. Rows of the last day need none.
 */
export async function forgetEmptied(tx: postgres.TransactionSql, ids: readonly string[]): Promise<void> {
  const times = ids.map(timeOfId).filter((time) => time < Date.now() - dayMs)
  if (times.length === 0) return
  for (const { from, until, name } of await listPartitions(tx)) {
    const isHit = times.some((time) => time >= (from ?? 0) - dayMs && time < until)
    // Whether there is a note or not: its lock keeps one from being made meanwhile.
    if (isHit && until <= Date.now()) await tx.unsafe(`comment on table ${name} is null`)
  }
}

/** In a transaction, in turn. Without `statementMs` a statement may take minutes. Throws StorageError. */
export function changing<T>(
  sql: postgres.Sql,
  operation: string,
  change: (tx: postgres.TransactionSql) => Promise<T>,
  statementMs = longMs,
): Promise<T> {
  const work = async (tx: postgres.TransactionSql) => {
    // To PostgreSQL these two say nothing. Citus can then name shards and indexes however many rows it moved before, and workers know the bounds too.
    await tx.unsafe(`set local citus.multi_shard_modify_mode = 'sequential'`)
    await tx.unsafe(`set local citus.propagate_set_commands = 'local'`)
    await tx.unsafe(`set local lock_timeout = '${turnTimeout}'`)
    await tx`select pg_advisory_xact_lock(${lockId})`
    await tx.unsafe(`set local lock_timeout = '${lockTimeout}'`)
    await tx.unsafe(`set local statement_timeout = ${statementMs}`)
    return change(tx)
  }
  return storing(operation, async () => (await sql.begin(work)) as T, statementMs < longMs ? changeMs : longMs)
}
