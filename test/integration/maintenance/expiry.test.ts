import postgres from 'postgres'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { newWorkspaceId } from '../../../src/domain/ids.ts'
import { expireFlowResponses } from '../../../src/storage/expiry.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

let made: TestDatabase
let sql: postgres.Sql
const workspaceIds = [newWorkspaceId(), newWorkspaceId()]
const now = new Date('2026-05-01T12:00:00.000Z')

beforeEach(async () => {
  made = await createTestDatabase()
  sql = postgres(made.url, { max: 6 })
})
afterEach(async () => {
  await sql.end()
  await made.drop()
})

const insert = (count: number, status: string, expiresAt: Date) => sql`
  insert into flow_responses (workspace_id, id, flow_token, flow_token_digest, status, last_activity_at, expires_at, updated_at)
  select (${workspaceIds}::text[])[1 + i % 2], ${status} || ${expiresAt.getTime()}::text || i, 't',
    sha256((${status} || ${expiresAt.getTime()}::text || i)::bytea), ${status}, ${now}::timestamptz - interval '1 day',
    ${expiresAt}, ${now}::timestamptz - interval '1 day'
  from generate_series(1, ${count}) i`
const statuses = async () =>
  Object.fromEntries(
    (await sql`select status, count(*)::int as n from flow_responses group by 1`).map((r) => [r.status, r.n]),
  )

it('expires what is open and past its time, and moves nothing else', async () => {
  for (const status of ['SENT', 'IN_PROGRESS', 'COMPLETED', 'EXPIRED']) await insert(2, status, now)
  await insert(2, 'SENT', new Date(now.getTime() + 1))
  expect(await expireFlowResponses(sql, now)).toEqual({ found: 4, expired: 4 })
  expect(await statuses()).toEqual({ SENT: 2, COMPLETED: 2, EXPIRED: 6 })
  expect(await expireFlowResponses(sql, now)).toEqual({ found: 0, expired: 0 })
  const [row] = await sql`select min(last_activity_at) as first, max(last_activity_at) as last,
    count(*) filter (where updated_at = ${now})::int as moved from flow_responses`
  const dayBefore = new Date('2026-04-30T12:00:00.000Z')
  expect(row).toEqual({ first: dayBefore, last: dayBefore, moved: 4 })
})

it('each exactly once, with two processes at it', async () => {
  await insert(3000, 'SENT', now)
  let expired = 0
  const sweep = async () => {
    for (;;) {
      const pass = await expireFlowResponses(sql, now)
      expired += pass.expired
      if (pass.found === 0) return
    }
  }
  await Promise.all([sweep(), sweep(), sweep()])
  expect(expired).toBe(3000)
  expect(await statuses()).toEqual({ EXPIRED: 3000 })
})

it('leaves a row that is being written to the next pass, and does not wait for it', async () => {
  await insert(2, 'SENT', now)
  await sql.begin(async (tx) => {
    await tx`select from flow_responses where workspace_id = ${workspaceIds[0] ?? ''} for update`
    expect(await expireFlowResponses(sql, now)).toEqual({ found: 2, expired: 1 })
    // Its person came back in time, and the tenant gave them longer.
    await tx`update flow_responses set expires_at = ${new Date(now.getTime() + 1)} where workspace_id = ${workspaceIds[0] ?? ''}`
  })
  expect(await expireFlowResponses(sql, now)).toEqual({ found: 0, expired: 0 })
  expect(await statuses()).toEqual({ SENT: 1, EXPIRED: 1 })
})
