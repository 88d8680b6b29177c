import { setTimeout as delay } from 'node:timers/promises'
import type postgres from 'postgres'
import { firstIdAt } from '../domain/day.ts'
import { storing } from './database.ts'
import { noteEmptied, type Partition, type PartitionedTable } from './partitions.ts'

/** A few thousand rows with their old payloads: some tens of milliseconds. */
const chunkRows = 1000

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

/** Empties a partition's payloads of before `before`, in small steps, until `signal`. Returns of how many rows. Throws StorageError. */
export async function emptyPayloads(
  sql: postgres.Sql,
  partition: Partition,
  before: Date,
  signal: AbortSignal,
): Promise<number> {
  let after = { workspace_id: '', id: firstIdAt(0) }
  let emptied = 0
  while (!signal.aborted) {
    const startedAt = performance.now()
    const keys = await nextKeys(sql, partition, firstIdAt(before.getTime()), after)
    const last = keys.at(-1)
    if (last !== undefined) emptied += await emptyRows(sql, partition, keys)
    if (last === undefined || keys.length < chunkRows) {
      if (partition.until <= before.getTime()) await noteEmptied(sql, partition, (tx) => isEmpty(tx, partition))
      return emptied
    }
    after = last
    // Half of the time is for others.
    await delay(performance.now() - startedAt)
  }
  return emptied
}

interface Key {
  readonly workspace_id: string
  readonly id: string
}

/** Along the primary key, so that a whole pass reads each row once. */
function nextKeys(sql: postgres.Sql, { table, name }: Partition, beforeId: string, after: Key): Promise<Key[]> {
  const { stays } = payloads[table]
  return storing(
    'look for payloads',
    async () => {
      const rows = await sql<{ workspace_id: string; id: string }[]>`
      select workspace_id, id from ${sql(name)}
      where (workspace_id, id) > (${after.workspace_id}, ${after.id}) and id < ${beforeId}
        and (${sql.unsafe(isHeld(table))}) and not (${sql.unsafe(stays)})
      order by workspace_id, id limit ${chunkRows}`
      return [...rows]
    },
    passMs,
  )
}

/** Past rows that were emptied in earlier passes a step may have to read the whole partition, ms. */
const passMs = 600_000

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
