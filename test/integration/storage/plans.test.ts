import type postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { loadWaiting, recordProgress } from '../../../src/storage/delivery-work.ts'
import { openClient } from '../../../src/storage/driver.ts'
import { recordExchanges } from '../../../src/storage/exchange-record.ts'
import { makePartitionsAhead } from '../../../src/storage/partitions.ts'
import { loadSession } from '../../../src/storage/sessions.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

/** Plans are kept, and are made while the tables are empty: on the first day, and each midnight for the day's partitions. */
let database: TestDatabase
let sql: postgres.Sql
const workspaceId = newWorkspaceId()

beforeAll(async () => {
  database = await createTestDatabase()
  // On one connection: what is prepared there can be asked for.
  sql = openClient(database.url, { max: 1 })
  await makePartitionsAhead(sql, new Date(), 3)
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

/** The plan for any values of what was prepared last with this text in it. */
async function planOf(text: string): Promise<string> {
  const found = await sql.unsafe(
    `select statement from pg_prepared_statements where statement like '%${text}%' and statement not like '%pg_prepared%'`,
  )
  const plan = await sql.unsafe(`explain (generic_plan) ${found[0]?.statement}`)
  return plan.map((row) => row['QUERY PLAN']).join('\n')
}

const closed = {
  workspaceId,
  id: newUuid(),
  clientId: null,
  outcome: 'replied',
  reason: null,
  durationMs: 1,
  webhookMs: 1,
  timings: { verify: 0, decrypt: 0, enrich: 0, webhook: 0, encrypt: 0, total: 1 },
  answer: null,
  answerScreen: null,
  attempt: null,
  completed: null,
} as const

it('closing exchanges looks each up by its key', async () => {
  await recordExchanges(sql, [], [closed])
  const plan = await planOf('update exchanges')
  expect(plan).toMatch(/Index Scan using exchanges_\w+_pkey|Index Scan using exchanges_\w+_pk/)
  expect(plan).not.toContain('Seq Scan on exchanges')
})

it('deliveries are read, and written down, by their keys', async () => {
  const at = new Date()
  const row = { workspaceId, deliveryId: newUuid(), webhookId: 'wh', at, status: 'delivered' } as const
  const attempt = {
    id: newUuid(),
    createdAt: at,
    status: 200,
    failure: null,
    durationMs: 1,
    connectMs: null,
    headMs: 1,
    bytes: 0,
    responseHeaders: {},
    responseBody: Buffer.alloc(0),
  }
  await recordProgress(sql, [{ ...row, reason: null, attempts: 1, failures: 0, dueAt: null, attempt }])
  await loadWaiting(sql, [row])
  for (const text of [
    'update deliveries',
    'insert into attempts',
    'join deliveries d on d.workspace_id = t.workspace_id and d.id = t.id',
  ]) {
    const plan = await planOf(text)
    expect(plan).toContain('deliveries')
    expect(plan).not.toContain('Seq Scan on deliveries')
  }
})

it('a session is looked up by its token and not among all of its workspace', async () => {
  await loadSession(sql, workspaceId, { flowToken: 'x', action: 'init', screen: null, withAnswers: false })
  const plan = await planOf('from flow_responses')
  expect(plan).toMatch(/Index Scan using flow_responses_flow_token on flow_responses/)
  expect(plan).toMatch(/Index Scan using conversations_workspace_id_id_pk .*\n *Index Cond: .*id >= /)
  expect(plan).toMatch(/Index Scan using clients_workspace_id_id_pk .*\n *Index Cond: .*id >= /)
})
