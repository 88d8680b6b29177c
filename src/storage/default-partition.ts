import type postgres from 'postgres'
import { dayMs, dayOf, firstIdAt, nameOfDay } from '../domain/day.ts'
import { StorageError, storing } from './database.ts'
import {
  areMany,
  changing,
  type DayRows,
  defaultRows,
  heldMs,
  listPartitions,
  longMs,
  makePartition,
  type Partition,
  type PartitionedTable,
} from './partitions.ts'
import { eachPastFailures } from './past-failures.ts'

/** The constraint that says of a default partition's rows what the bounds of their days will. Whom it refuses writes again a little later. */
export const defaultBounds = 'default_bounds'
/** Days that are further apart get no partition together: it is dropped as one. */
const mostApartMs = 7 * dayMs

/**
 * Empties the default partition of a table: rows of `days` are moved, each day into a partition of its own. To move many, or large ones, would hold the table
 * for minutes: then the default partition itself becomes theirs, as it is. On a connection that may be busy for minutes. Throws StorageError.
 */
export async function emptyDefault(
  sql: postgres.Sql,
  table: PartitionedTable,
  days: readonly DayRows[],
  now: Date,
  signal: AbortSignal,
): Promise<void> {
  if (!areMany(days)) {
    try {
      return await eachPastFailures(days, ({ day }) => makePartition(sql, table, day), signal)
    } catch (error) {
      const tookTooLong = error instanceof StorageError && error.sqlState === '57014'
      if (!tookTooLong || signal.aborted) throw error
    }
  }
  await adoptDefault(sql, table, now)
}

/** Takes away what a process left that died meanwhile: rows of other days would be refused for ever. Throws StorageError. */
export async function freeDefault(sql: postgres.Sql, table: PartitionedTable): Promise<void> {
  const [found] = await storing(
    'look for bounds of the default partition',
    () => sql`
      select from pg_constraint where conname = ${defaultBounds} and conrelid = ${`${table}_default`}::text::regclass`,
  )
  if (found === undefined) return
  const free = `alter table ${table}_default drop constraint if exists ${defaultBounds}`
  await changing(sql, 'free default partition', (tx) => tx.unsafe(free), heldMs)
}

/** Rows of days apart from most are moved first, however long the table is held: of a clock that was wrong, of a spool older than the log. */
async function adoptDefault(sql: postgres.Sql, table: PartitionedTable, now: Date): Promise<void> {
  const ofTable = async () => (await listPartitions(sql)).filter((partition) => partition.table === table)
  const stretches = stretchesOf(await defaultRows(sql, table, 'all'), await ofTable())
  const [most, ...others] = stretches.toSorted((a, b) => b.rows - a.rows)
  if (most === undefined) return
  for (const { day } of others.flatMap(({ days }) => days)) await makePartition(sql, table, day, longMs)
  const days = most.days.map(({ day }) => day)
  const [first, last] = [Math.min(...days), Math.max(...days)]
  // Today and tomorrow too: no row that comes meanwhile is out of bounds.
  const next = (await ofTable()).flatMap(({ from }) => (from !== null && from > last ? [from] : []))
  const until = Math.min(Math.max(last, dayOf(now.getTime())) + 2 * dayMs, ...next)
  await adopt(sql, table, first, until)
}

/** Each step that exchanges wait for is a matter of milliseconds: what reads the rows does not hold the table. */
async function adopt(sql: postgres.Sql, table: PartitionedTable, from: number, until: number): Promise<void> {
  const [name, byDefault] = [`${table}_${nameOfDay(from)}`, `${table}_default`]
  const ids = { from: firstIdAt(from), until: firstIdAt(until) }
  const bound = `alter table ${byDefault}
    add constraint ${defaultBounds} check (id >= '${ids.from}' and id < '${ids.until}') not valid`
  const validate = `alter table ${byDefault} validate constraint ${defaultBounds}`
  const statements = [
    `lock table only ${table} in access exclusive mode`,
    `alter table ${table} detach partition ${byDefault}`,
    `alter table ${byDefault} rename to ${name}`,
    // PostgreSQL reads no row: the constraint has said it. Without one it would, and time would run out.
    `alter table ${table} attach partition ${name} for values from ('${ids.from}') to ('${ids.until}')`,
    `alter table ${name} drop constraint if exists ${defaultBounds}`,
    `create table ${byDefault} partition of ${table} default`,
  ]
  const exchange = async (tx: postgres.TransactionSql) => {
    for (const statement of statements) await tx.unsafe(statement)
  }
  await freeDefault(sql, table)
  await changing(sql, 'bound default partition', (tx) => tx.unsafe(bound), heldMs)
  try {
    await storing('read the default partition', () => sql.unsafe(validate), longMs)
    await changing(sql, 'exchange default partition', exchange, heldMs)
  } catch (error) {
    // Where that fails too the next pass does it.
    await freeDefault(sql, table).catch(() => undefined)
    throw error
  }
}

interface Stretch {
  readonly days: DayRows[]
  rows: number
}

/** Days between which no partition lies, the earliest first as they are given. */
function stretchesOf(days: readonly DayRows[], partitions: readonly Partition[]): Stretch[] {
  const stretches: Stretch[] = []
  for (const day of days) {
    const stretch = stretches.at(-1)
    const last = stretch?.days.at(-1)?.day ?? Number.NEGATIVE_INFINITY
    const isBetween = ({ until }: Partition) => until > last && until <= day.day
    if (stretch === undefined || day.day - last > mostApartMs || partitions.some(isBetween)) {
      stretches.push({ days: [day], rows: day.rows })
    } else {
      stretch.days.push(day)
      stretch.rows += day.rows
    }
  }
  return stretches
}
