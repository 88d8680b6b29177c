import type postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { firstSeen } from '../../../src/domain/flow-response.ts'
import { newId, newUuid, newWorkspaceId, type WorkspaceId } from '../../../src/domain/ids.ts'
import { createJobs } from '../../../src/maintenance/jobs.ts'
import { createLog } from '../../../src/ops/logger.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { writeExchanges } from '../../../src/storage/exchanges.ts'
import { deleteWorkspace } from '../../../src/storage/workspace-deletion.ts'
import { waitForLocks } from '../../support/locks.ts'
import { insertAttempt, insertDelivery } from '../../support/log-rows.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'
import { shardFault } from '../../support/shard-rule.ts'
import { tapStatements } from '../../support/statement-tap.ts'

let opened: OpenedDatabase
let database: Database
let sql: postgres.Sql

beforeAll(async () => {
  opened = await openTestDatabase()
  ;({ database, sql } = opened)
})
afterAll(async () => {
  await opened.close()
})

async function createWorkspace(): Promise<WorkspaceId> {
  const id = newWorkspaceId()
  await sql`insert into workspaces (id, name) values (${id}, 'W')`
  return id
}

/** What processes write that have not heard of a deletion. */
async function writeAll(workspaceId: WorkspaceId): Promise<void> {
  const createdAt = new Date()
  const flowResponse = firstSeen(newId('flowResponse'), 'a-token', null, createdAt)
  const opened = {
    ...{ workspaceId, id: newUuid(), createdAt, wabaId: '1', event: 'whatsapp.flows.init' as const, action: 'init' },
    ...{ screen: 'FIRST', flowToken: 'a-token', flowId: null, clientId: null, webhookId: null },
    ...{ envelope: Buffer.from('{"an":"envelope"}'), flowResponse },
  }
  await writeExchanges(sql, { opened: [opened], closed: [], deliveries: [] }, async () => {})
  const deliveryId = await insertDelivery(sql, workspaceId)
  await insertAttempt(sql, workspaceId, { deliveryId })
  await sql`insert into meta_events values (${workspaceId}, 'a', now())`
  await sql`insert into expunges values (${workspaceId}, 'a', 'client', now())`
  await sql`insert into idempotent_calls values (${workspaceId}, 'a', 'b', null, null, now(), now())`
  await sql`insert into exchange_stats_stale values (${workspaceId}, now()) on conflict do nothing`
  await sql`insert into exchange_stats values (${workspaceId}, 5, now(), '', '', 'replied', 1, 0, '{1}', '{1}', '{}', '{}')`
  await sql`insert into webhook_breakers (workspace_id, webhook_id, process, state, since, seen_at)
    values (${workspaceId}, 'a', 'b', 'open', now(), now())`
  await sql`insert into audit_log values (${workspaceId}, gen_random_uuid(), 'operator', 'x', null, '{}', 200, now())`
}

/** The tables that have rows of a workspace, and how many. */
async function rowsOf(workspaceId: WorkspaceId): Promise<Record<string, number>> {
  const tables = await sql`
    select table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'workspace_id'
      and not (select relispartition from pg_class where oid = table_name::regclass)`
  const counts: Record<string, number> = {}
  for (const { name } of tables) {
    const [row] = await sql`select count(*)::int as n from ${sql(name)} where workspace_id = ${workspaceId}`
    if (row?.n > 0) counts[name] = row?.n
  }
  return counts
}

const hourMs = 3_600_000

/** One process that was just elected; it looks again as so much later. Returns what it tells. */
function elected(of = database): (laterMs?: number) => Promise<unknown[]> {
  const lines: Record<string, unknown>[] = []
  const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  const metrics = { defaultPartitionRows: () => undefined, queueMeasured: () => undefined }
  let nowMs = Date.now()
  const clocks = { now: () => new Date(nowMs), databaseNow: async () => new Date(nowMs) }
  const jobs = createJobs({ database: of, log, metrics, payloadDays: 7, logDays: 30, ...clocks })
  return async (laterMs = 0) => {
    nowMs = Date.now() + laterMs
    await jobs.find(({ name }) => name === 'delete_workspaces_again')?.run(new AbortController().signal)
    return lines.splice(0)
  }
}

it('rows that come after their workspace was deleted go too, for an hour, and those of others stay', async () => {
  const runAgain = elected()
  const [gone, other] = [await createWorkspace(), await createWorkspace()]
  for (const workspaceId of [gone, other]) await writeAll(workspaceId)
  const before = await rowsOf(other)
  await deleteWorkspace(database, gone)
  const left = { audit_log: 1, expunges: 1 }
  expect(await rowsOf(gone)).toEqual(left)
  expect(await runAgain()).toEqual([])
  // From a process that has not heard of it.
  await writeAll(gone)
  expect(await runAgain()).toMatchObject([{ rows: 10 }])
  expect(await rowsOf(gone)).toEqual({ ...left, audit_log: 2 })
  expect(await rowsOf(other)).toEqual(before)
  await writeAll(gone)
  expect(await runAgain(hourMs / 2)).toMatchObject([{ rows: 10 }])
  await writeAll(gone)
  expect(await runAgain(2 * hourMs)).toMatchObject([{ rows: 10 }])
  await writeAll(gone)
  expect(await runAgain(2 * hourMs)).toEqual([])
  // Who is elected next does not know what was looked for.
  expect(await elected()(60 * hourMs)).toMatchObject([{ rows: 10 }])
  expect(await elected()(80 * hourMs)).toEqual([])
})

it('rows that came while nobody looked go when somebody does, and a workspace that fails is tried again by itself', async () => {
  const runAgain = elected()
  await runAgain()
  const [failing, gone] = [await createWorkspace(), await createWorkspace()]
  for (const workspaceId of [failing, gone]) {
    await deleteWorkspace(database, workspaceId)
    await writeAll(workspaceId)
  }
  await sql.unsafe(`
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
    create trigger refuse before delete on meta_events for each row when (old.workspace_id = '${failing}') execute function refuse()`)
  const fail = (laterMs: number) => expect(runAgain(laterMs)).rejects.toMatchObject({ sqlState: 'P0001' })
  await fail(5 * hourMs)
  expect(await rowsOf(gone)).toEqual({ audit_log: 1, expunges: 1 })
  // Of the others no row is looked for before the next pass is due, and then of those alone that went since the last.
  await writeAll(gone)
  await fail(5 * hourMs + 10_000)
  await fail(6 * hourMs)
  await sql`drop trigger refuse on meta_events`
  await runAgain(10 * hourMs)
  expect(await rowsOf(failing)).toEqual({ audit_log: 1, expunges: 1 })
  expect(await rowsOf(gone)).toMatchObject({ exchanges: 1 })
})

it('rows are looked for though every connection of the API is busy', async () => {
  const gone = await createWorkspace()
  await deleteWorkspace(database, gone)
  await writeAll(gone)
  const over = Promise.withResolvers<void>()
  const busy = Array.from({ length: 6 }, () => database.orm.transaction(() => over.promise))
  await elected()().finally(over.resolve)
  await Promise.all(busy)
  expect(await rowsOf(gone)).toEqual({ audit_log: 1, expunges: 1 })
})

it('nothing comes any more, and what comes holds nobody up, once a deletion has begun', async () => {
  const gone = await createWorkspace()
  await sql`insert into wabas (workspace_id, waba_id, verified) values (${gone}, 'of-the-gone', true)`
  const clients = await sql`
    insert into clients (workspace_id, id, phone_number)
    select ${gone}, 'client_' || i, '+1555' || i from generate_series(1, 3) i returning id`
  const version = async () =>
    (await database.work`select config_version::int as v from workspaces where id = ${gone}`)[0]?.v
  const before = await version()
  let deleting: Promise<void> = Promise.resolve()
  // An exchange has one of its clients for a while.
  await sql.begin(async (tx) => {
    await tx`select 1 from clients where workspace_id = ${gone} and id = ${clients[2]?.id} for key share`
    deleting = deleteWorkspace(database, gone)
    await waitForLocks(database.work, 1)
    expect(await database.work`select 1 from wabas where workspace_id = ${gone}`).toEqual([])
    expect(await version()).toBe(before + 1)
    // The workspace is not locked: what Meta tells of it is written, and goes with it.
    await database.work`insert into clients (workspace_id, id, phone_number) values (${gone}, 'client_new', '+1556')`
  })
  await deleting
  expect(Object.keys(await rowsOf(gone))).toEqual(['expunges'])
})

it('each statement names its workspace, as Citus needs it', async () => {
  const gone = await createWorkspace()
  const tap = await tapStatements(opened.made.url)
  const tapped = openDatabase({ ...opened.made.settings, url: tap.url })
  await deleteWorkspace(tapped, gone)
  await elected(tapped)()
  await tapped.close()
  await tap.close()
  const ofWorkspace = tap.statements.filter(({ values }) => values.includes(gone))
  // The WABAs, ten tables at the deletion and again, and the tombstone.
  expect(ofWorkspace.filter(({ text }) => text.startsWith('delete from "'))).toHaveLength(22)
  expect(ofWorkspace.filter(({ text }) => text.startsWith('insert into "expunges"'))).toHaveLength(1)
  for (const statement of ofWorkspace) expect(await shardFault(sql, statement), statement.text).toBeNull()
})
