import { setTimeout as delay } from 'node:timers/promises'
import type postgres from 'postgres'
import { firstIdAt } from '../domain/day.ts'
import { storing } from './database.ts'
import { noteEmptied, type Partition, type PartitionedTable } from './partitions.ts'

/** A few thousand rows with their old payloads: some tens of milliseconds. */
const chunkRows = 1000
/** Rows that one look reads, most of which may be emptied already. */
const lookRows = 5000

interface Payloads {
  readonly columns: readonly string[]
  /** Rows whose payload must stay yet. */
  readonly stays: string
}

/** What is emptied. Flow tokens and screens stay until the row goes: the log is searched by them. */
const payloads: Readonly<Record<PartitionedTable, Payloads>> = {
  exchanges: { columns: ['envelope', 'answer'], stays: 'false' },
  // contract.md §7: payloads stay while a delivery is scheduled.
  deliveries: { columns: ['envelope'], stays: "status in ('pending', 'failed')" },
  attempts: { columns: ['response_headers', 'response_body'], stays: 'false' },
}

/**
 * Empties a partition's payloads of before `before`, in small steps, until `signal`; only those from `doneBefore` on, of before which a pass has
 * emptied all, until its day is over: then what came late or waited is looked for too. Returns of how many rows. Throws StorageError.
 */
export async function emptyPayloads(
  sql: postgres.Sql,
  partition: Partition,
  before: Date,
  signal: AbortSignal,
  doneBefore: Date | null = null,
): Promise<number> {
  const note = () => noteEmptied(sql, partition, (tx) => isEmpty(tx, partition))
  const emptied = await emptyBetween(sql, partition, doneBefore, before, signal)
  if (signal.aborted || partition.until > before.getTime()) return emptied
  if ((await note()) || doneBefore === null) return emptied
  const late = await emptyBetween(sql, partition, null, before, signal)
  if (late > 0 && !signal.aborted) await note()
  return emptied + late
}

async function emptyBetween(
  sql: postgres.Sql,
  partition: Partition,
  from: Date | null,
  until: Date,
  signal: AbortSignal,
): Promise<number> {
  const ids = { from: firstIdAt(from?.getTime() ?? 0), until: firstIdAt(until.getTime()) }
  let after: Key | undefined = { workspace_id: '', id: firstIdAt(0) }
  let emptied = 0
  while (after !== undefined && !signal.aborted) {
    const startedAt = performance.now()
    const { due, last }: Look = await look(sql, partition, ids, after)
    for (let n = 0; n < due.length; n += chunkRows) {
      emptied += await emptyRows(sql, partition, due.slice(n, n + chunkRows))
    }
    after = last
    // Half of the time is for others.
    if (after !== undefined) await delay(performance.now() - startedAt)
  }
  return emptied
}

interface Key {
  readonly workspace_id: string
  readonly id: string
}

interface Look {
  readonly due: readonly Key[]
  /** Where it ended. Undefined: there are no more rows. */
  readonly last: Key | undefined
}

/** Along the primary key, so that a whole pass reads each row once. */
function look(
  sql: postgres.Sql,
  { table, name }: Partition,
  ids: { readonly from: string; readonly until: string },
  after: Key,
): Promise<Look> {
  const { stays } = payloads[table]
  return storing(
    'look for payloads',
    async () => {
      const rows = await sql<(Key & { is_due: boolean })[]>`
      with looked_at as materialized (
        select workspace_id, id, (${sql.unsafe(isHeld(table))}) and not (${sql.unsafe(stays)}) as is_due from ${sql(name)}
        where (workspace_id, id) > (${after.workspace_id}, ${after.id}) and id >= ${ids.from} and id < ${ids.until}
        order by workspace_id, id limit ${lookRows})
      select workspace_id, id, true as is_due from looked_at where is_due
      union all (select workspace_id, id, false from looked_at order by workspace_id, id offset ${lookRows - 1})`
      const due = rows.filter(({ is_due }) => is_due)
      return { due, last: rows.find(({ is_due }) => !is_due) }
    },
    lookMs,
  )
}

/** Rows of other times are passed over in the index: of a day's, for minutes perhaps, ms. */
const lookMs = 600_000

function emptyRows(sql: postgres.Sql, { table, name }: Partition, keys: readonly Key[]): Promise<number> {
  const { columns, stays } = payloads[table]
  return storing(
    'empty payloads',
    async () => {
      const { count } = await sql`
      update ${sql(name)} t set ${sql.unsafe(columns.map((column) => `${column} = null`).join(', '))}
      from unnest(${keys.map((key) => key.workspace_id)}::text[], ${keys.map((key) => key.id)}::text[]::uuid[])
        as k(workspace_id, id)
      where t.workspace_id = k.workspace_id and t.id = k.id and not (${sql.unsafe(stays)})`
      return count
    },
    60_000,
  )
}

async function isEmpty(tx: postgres.TransactionSql, { table, name }: Partition): Promise<boolean> {
  const [found] = await tx.unsafe(`select from ${name} where ${isHeld(table)} limit 1`)
  return found === undefined
}

function isHeld(table: PartitionedTable): string {
  return payloads[table].columns.map((column) => `${column} is not null`).join(' or ')
}
