import { pino } from 'pino'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { mostWaiting } from '../../../src/domain/delivery.ts'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { deliveriesTo, enqueue } from '../../../src/events/announcement.ts'
import { Backlog } from '../../../src/events/backlog.ts'
import { Queue } from '../../../src/events/queue.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { measureQueue } from '../../../src/storage/deliveries.ts'
import { type RingAnew, recoverDeliveries } from '../../../src/storage/redelivery.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { waitForLocks } from '../../support/locks.ts'
import { insertDelivery } from '../../support/log-rows.ts'

let testDatabase: TestDatabase
let database: Database
let sql: postgres.Sql
const workspaceId = newWorkspaceId()
const webhooks = [
  { id: 'wh_full', format: 'envelope' as const },
  { id: 'wh_other', format: 'envelope' as const },
]

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  database = openDatabase(testDatabase.settings)
  sql = postgres(testDatabase.url, { max: 1 })
  await sql`
    insert into deliveries (workspace_id, id, webhook_id, event_id, event, occurred_at, envelope, status, due_at, created_at, updated_at)
    select ${workspaceId}, (substr(${newUuid()}, 1, 18) || '-8' || substr(md5(i::text), 1, 3) || '-' || substr(md5(i::text), 4, 12))::uuid,
      'wh_full', gen_random_uuid(), 'whatsapp.flows.init', now(), '', 'pending', now(), now(), now()
    from generate_series(1, ${mostWaiting - 2}) i`
})
afterAll(async () => {
  await sql.end()
  await database.close()
  await testDatabase.drop()
})

const announcement = () => ({
  workspaceId,
  id: newUuid(),
  event: 'whatsapp.flows.init' as const,
  now: new Date(),
  resourceId: 'a-token',
  flowId: null,
  clientId: null,
  envelope: Buffer.from('{}'),
  plain: null,
})

it('at most 50,000 deliveries wait for a webhook; what is beyond is exhausted at once, and others are not touched', async () => {
  const queue = new Queue(database)
  const counted: string[] = []
  const backlog = new Backlog(database, pino({ enabled: false }), { deliveryExhausted: (it) => void counted.push(it) })
  const tell = async () => {
    const deliveries = deliveriesTo(webhooks, announcement(), backlog)
    await database.work.begin((tx) => enqueue({ queue, backlog }, tx, deliveries))
    return deliveries.map(({ reason }) => reason)
  }
  // Not counted yet: a second of grace. Once counted, there is room for one more.
  expect(await tell()).toEqual([null, null])
  await eventually(() => backlog.isLong('wh_full'))
  expect(backlog.isLong('wh_other')).toBe(false)
  expect(await tell()).toEqual([null, null])
  expect(await tell()).toEqual(['queue_full', null])
  expect(counted).toEqual(['queue_full'])
  const rows = await sql`
    select status, reason, due_at is null as is_over, count(*)::int from deliveries where webhook_id = 'wh_full' group by 1, 2, 3 order by 1`
  expect(rows).toEqual([
    { status: 'exhausted', reason: 'queue_full', is_over: true, count: 1 },
    { status: 'pending', reason: null, is_over: false, count: mostWaiting },
  ])
  // Alarms of those that wait behind many stand behind others'.
  const alarms =
    await sql`select group_id, priority, count(*)::int from relevo_queue.job group by 1, 2 order by 1, 2 desc`
  expect(alarms).toEqual([
    { group_id: 'wh_full', priority: 0, count: 1 },
    { group_id: 'wh_full', priority: -1, count: 1 },
    { group_id: 'wh_other', priority: 0, count: 3 },
  ])
  await backlog.close()
  await queue.close()
})

it('what waits is measured: how many up to a bound, and how long the one that is overdue longest has been', async () => {
  expect(await measureQueue(database.work, 1000)).toMatchObject({ depth: 1000 })
  await sql`truncate deliveries`
  expect(await measureQueue(database.work, 1000)).toEqual({ depth: 0, ageSeconds: 0 })
  for (const status of ['delivered', 'exhausted'] as const) await insertDelivery(sql, workspaceId, { status })
  // What is not due yet waits, and is not late.
  await insertDelivery(sql, workspaceId, { status: 'failed', at: new Date(Date.now() + 3_600_000) })
  expect(await measureQueue(database.work, 1000)).toEqual({ depth: 1, ageSeconds: 0 })
  await insertDelivery(sql, workspaceId, { status: 'pending', at: new Date(Date.now() - 600_000) })
  await insertDelivery(sql, workspaceId, { status: 'failed', at: new Date() })
  const { depth, ageSeconds } = await measureQueue(database.work, 1000)
  expect(depth).toBe(3)
  expect(ageSeconds).toBeGreaterThanOrEqual(599)
  expect(ageSeconds).toBeLessThan(1200)
})

it('what is recovered and fails again meanwhile is not recovered twice, and what is left is told', async () => {
  // More than two steps of it.
  const lost = 4100
  await sql`
    insert into deliveries (workspace_id, id, webhook_id, event_id, event, occurred_at, envelope, status, created_at, updated_at)
    select ${workspaceId}, (substr(${newUuid()}, 1, 18) || '-8' || substr(md5(i::text), 1, 3) || '-' || substr(md5(i::text), 4, 12))::uuid,
      'wh_lost', gen_random_uuid(), 'whatsapp.flows.init', now(), '', 'exhausted', now(), now()
    from generate_series(1, ${lost}) i`
  // Without statistics of so many new rows a step takes seconds.
  await sql`analyze deliveries`
  const rung: string[] = []
  // Each fails again before the next step begins.
  const failAgain: RingAnew = async (tx, deliveries) => {
    rung.push(...deliveries.map(({ deliveryId }) => deliveryId))
    await tx`update deliveries set status = 'failed' where webhook_id = 'wh_lost' and status = 'pending'`
  }
  const since = new Date(Date.now() - 60_000)
  const recover = (limit: number, until?: Date) =>
    recoverDeliveries(database, workspaceId, 'wh_lost', { since, until }, limit, failAgain)
  expect(await recover(0)).toEqual({ recovered: 0, isComplete: false })
  expect(await recover(3000)).toEqual({ recovered: 3000, isComplete: false })
  expect(new Set(rung.splice(0)).size).toBe(3000)
  expect(await recover(lost)).toEqual({ recovered: lost, isComplete: true })
  expect(new Set(rung.splice(0)).size).toBe(lost)
  expect(await recover(mostWaiting)).toEqual({ recovered: lost, isComplete: true })
  expect(new Set(rung).size).toBe(lost)
  // No room, and nothing that needs some.
  expect(await recover(0, new Date(since.getTime() + 1))).toEqual({ recovered: 0, isComplete: true })
})

/** Whatever is made in the millisecond of a recovery is not before it. */
const secondAgo = () => new Date(Date.now() - 1000)

it('what waits for its next attempt needs no room to be recovered', async () => {
  for (const status of ['failed', 'exhausted', 'failed', 'exhausted', 'failed'] as const)
    await insertDelivery(sql, workspaceId, { webhookId: 'wh_room', status, at: secondAgo() })
  const since = new Date(Date.now() - 60_000)
  const recover = (room: number) =>
    recoverDeliveries(database, workspaceId, 'wh_room', { since }, room, async (tx) => {
      await tx`update deliveries set status = 'failed' where webhook_id = 'wh_room' and status = 'pending'`
    })
  expect(await recover(0)).toEqual({ recovered: 3, isComplete: false })
  expect(await recover(1)).toEqual({ recovered: 4, isComplete: false })
  expect(await recover(1)).toEqual({ recovered: 5, isComplete: true })
})

it('what ends while it is recovered has ended', async () => {
  const id = await insertDelivery(sql, workspaceId, { webhookId: 'wh_race', status: 'failed', at: secondAgo() })
  const since = new Date(Date.now() - 60_000)
  let recovering: Promise<unknown> = Promise.resolve()
  await sql.begin(async (tx) => {
    await tx`update deliveries set status = 'delivered', delivered_at = now() where id = ${id}`
    recovering = recoverDeliveries(database, workspaceId, 'wh_race', { since }, 10, expectNone)
    await waitForLocks(database.work, 1)
  })
  expect(await recovering).toEqual({ recovered: 0, isComplete: true })
  expect(await sql`select status from deliveries where id = ${id}`).toMatchObject([{ status: 'delivered' }])
})

const expectNone: RingAnew = async (_tx, deliveries) => expect(deliveries).toEqual([])
