import type postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { firstSeen } from '../../../src/domain/flow-response.ts'
import { newId, newUuid, newWorkspaceId, type WorkspaceId } from '../../../src/domain/ids.ts'
import { storageOn } from '../../../src/storage/backends.ts'
import { openClient } from '../../../src/storage/driver.ts'
import { type ClosedExchange, type OpenedExchange, recordExchanges } from '../../../src/storage/exchange-record.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

let database: TestDatabase
let sql: postgres.Sql
const [one, other] = [newWorkspaceId(), newWorkspaceId()]
const flowToken = 'told to both'

beforeAll(async () => {
  database = await createTestDatabase()
  sql = openClient(database.url, { max: 2 })
  for (const workspaceId of [one, other]) {
    await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
    await answered(workspaceId)
  }
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})

const answerOf = (workspaceId: WorkspaceId) => `{"screen":"FORM","data":{"of":"${workspaceId}"}}`

/** An exchange of the flow token that was answered with its workspace's own reply. */
async function answered(workspaceId: WorkspaceId, more: Partial<ClosedExchange> = {}): Promise<void> {
  const [id, createdAt] = [newUuid(), new Date()]
  const flowResponse = firstSeen(newId('flowResponse'), flowToken, `flow of ${workspaceId}`, createdAt)
  const known = { workspaceId, id, createdAt, wabaId: '1', event: 'whatsapp.flows.init', action: 'init', screen: null }
  const unknown = { flowId: null, clientId: null, webhookId: null, envelope: Buffer.from('{}') }
  const opened: OpenedExchange = { ...known, ...unknown, flowToken, flowResponse }
  const timings = { verify: 0, decrypt: 0, enrich: 0, webhook: 0, encrypt: 0, total: 1 }
  const nothing = { reason: null, webhookMs: null, attempt: null, completed: null, clientId: null }
  const ended = { outcome: 'replied', durationMs: 1, timings, answerScreen: 'FORM' } as const
  const closed: ClosedExchange = {
    workspaceId,
    id,
    ...nothing,
    ...ended,
    answer: Buffer.from(answerOf(workspaceId)),
    ...more,
  }
  await recordExchanges(sql, [opened], [closed], 'once')
}

it.each(['postgres', 'citus'] as const)('sessions read together are each their own, as asked (%s)', async (backend) => {
  const query = { flowToken, action: 'data_exchange', screen: 'FORM' }
  const queries = [
    { ...query, workspaceId: other },
    { ...query, workspaceId: one, flowToken: 'unknown' },
    { ...query, workspaceId: one, screen: 'ANOTHER' },
    { ...query, workspaceId: one },
    { ...query, workspaceId: other, flowToken: 'it’s "new"\\\n' },
  ]
  const found = await storageOn(backend).loadSessions(sql, queries, true)
  expect(found.map(({ flowResponse, screenAnswer }) => [flowResponse?.flowId, screenAnswer?.toString()])).toEqual([
    [`flow of ${other}`, answerOf(other)],
    [undefined, undefined],
    [`flow of ${one}`, undefined],
    [`flow of ${one}`, answerOf(one)],
    [undefined, undefined],
  ])
  const plain = await storageOn(backend).loadSessions(sql, queries, false)
  expect(plain.map(({ screenAnswer }) => screenAnswer)).toEqual(queries.map(() => null))
  expect(plain[3]?.flowResponse).toMatchObject({ flowToken, status: 'IN_PROGRESS', openedAt: expect.any(Date) })
})

it.each(['postgres', 'citus'] as const)(
  'an earlier answer is looked for among the latest 200 of its token (%s)',
  async (backend) => {
    const workspaceId = newWorkspaceId()
    await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
    await answered(workspaceId)
    const load = () => {
      const query = { workspaceId, flowToken, action: 'data_exchange', screen: 'FORM' }
      return storageOn(backend).loadSessions(sql, [query], true)
    }
    const another = async (count: number) => {
      for (let call = 0; call < count; call++) await answered(workspaceId, { answerScreen: 'OTHER' })
    }
    await another(199)
    expect((await load())[0]?.screenAnswer?.toString()).toBe(answerOf(workspaceId))
    await another(1)
    expect((await load())[0]?.screenAnswer).toBeNull()
  },
)
