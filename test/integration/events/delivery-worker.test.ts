import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { readMasterKeys } from '../../../src/crypto/sealed-secret.ts'
import { sendAttempt } from '../../../src/delivery/attempt.ts'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { createDispatchers } from '../../../src/egress/dispatcher.ts'
import { createResolver } from '../../../src/egress/resolver.ts'
import { deliveriesTo, enqueue, ringAnew } from '../../../src/events/announcement.ts'
import { Backlog } from '../../../src/events/backlog.ts'
import { DeliveryWorker } from '../../../src/events/delivery-worker.ts'
import { Queue } from '../../../src/events/queue.ts'
import { type KnownWebhook, WebhookBook } from '../../../src/events/webhook-book.ts'
import { Unsealer } from '../../../src/events/webhook-signing.ts'
import { createMetrics } from '../../../src/ops/metrics.ts'
import { type Database, openDatabase, StorageError, statementsOf } from '../../../src/storage/database.ts'
import { loadWaiting, recordProgress } from '../../../src/storage/delivery-work.ts'
import { redeliver } from '../../../src/storage/redelivery.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'
import { waitForLocks } from '../../support/locks.ts'
import { type Behaviour, type FakeTenant, startTenant } from '../../support/tenant.ts'
import { reply } from '../../support/tenant-behaviours.ts'

let testDatabase: TestDatabase
let database: Database
let sql: postgres.Sql
let tenant: FakeTenant
let queue: Queue
let backlog: Backlog
const workspaceId = newWorkspaceId()
const log = pino({ enabled: false })

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  database = openDatabase(testDatabase.settings)
  sql = postgres(testDatabase.url, { max: 1 })
  tenant = await startTenant()
  queue = new Queue(database)
  backlog = new Backlog(database, log, createMetrics())
  await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
})
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.close()
  tenant.assertNoSurprises()
})
afterAll(async () => {
  await tenant.close()
  await backlog.close()
  await queue.close()
  await sql.end()
  await database.close()
  await testDatabase.drop()
})

const newBook = () =>
  new WebhookBook(database, new Unsealer(readMasterKeys(randomBytes(32).toString('base64')), () => {}))

async function insertWebhooks(count: number, prefix: string, url: string): Promise<void> {
  await sql`
    insert into webhooks (workspace_id, id, name, url, events, active, header_names, format, breaker_mode)
    select ${workspaceId}, ${prefix} || i, 'Told', ${url}, '{}', true, '{}', 'envelope', 'on' from generate_series(1, ${count}) i`
}

interface TestWorker {
  /** Its clock goes on by so much. */
  passes(ms: number): void
  close(): Promise<void>
}

const workers: TestWorker[] = []

/** A worker with all that a process has of its own. */
function startWorker(webhooks: Pick<WebhookBook, 'load'> = newBook()): TestWorker {
  const resolver = createResolver()
  const guard = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8'] })
  const dispatchers = createDispatchers({ guard, resolver })
  const ownQueue = new Queue(database)
  let passed = 0
  const worker = new DeliveryWorker({
    database,
    queue: ownQueue,
    webhooks,
    isLong: () => false,
    attempt: (request) => sendAttempt(dispatchers, request),
    interrupt: () => dispatchers.interrupt(),
    userAgent: 'Test',
    now: () => performance.now() + passed,
    log,
    metrics: createMetrics(),
  })
  worker.start()
  let closing: Promise<void> | null = null
  const close = async () => {
    await worker.close(0)
    await dispatchers.close()
    resolver.close()
    await ownQueue.close()
  }
  const started = {
    passes(ms: number) {
      passed += ms
    },
    close() {
      closing ??= close()
      return closing
    },
  }
  workers.push(started)
  return started
}

/** Deliveries that wait in the queue, by id. */
async function enqueued(webhookId: string, count: number): Promise<string[]> {
  const deliveries = Array.from({ length: count }, () => {
    const announcement = {
      ...{ workspaceId, id: newUuid(), event: 'whatsapp.flows.init' as const, now: new Date(), resourceId: 'a-token' },
      ...{ flowId: null, clientId: null, envelope: Buffer.from('{}'), plain: null },
    }
    return deliveriesTo([{ id: webhookId, format: 'envelope' }], announcement, backlog)
  }).flat()
  await database.work.begin((tx) => enqueue({ queue, backlog }, tx, deliveries))
  return deliveries.map(({ id }) => id)
}

const rowOf = async (id: string) =>
  (await sql`select event_id, status, failures, attempts from deliveries where id = ${id}`)[0]
const alarmOf = async (id: string) => (await sql`select state from relevo_queue.job where id = ${id}`)[0]
const isDelivered = async (id: string) => (await rowOf(id))?.status === 'delivered'

/** Alarms that are due to ring again do, though the last pass of it is no ten seconds ago. */
async function ringAgain(): Promise<void> {
  await sql`update relevo_queue.queue set monitor_on = null, monitor_claim_on = null`
  await queue.supervise()
}

/** Has both places of a webhook taken by attempts that hang; `waiting` is taken as well, and has none. */
async function crowd(webhookId: string) {
  const calls = new Map<unknown, Parameters<Behaviour>[0]>()
  const hanging: Behaviour = (call) => void calls.set(call.received.headers['x-webhook-event-id'], call)
  tenant.next(hanging, hanging)
  const ids = await enqueued(webhookId, 3)
  const worker = startWorker()
  await eventually(() => calls.size === 2)
  const found = await Promise.all(ids.map(async (id) => ({ id, call: calls.get((await rowOf(id))?.event_id) })))
  const underWay = found.flatMap(({ id, call }) => (call === undefined ? [] : [{ id, call }]))
  const [waiting = ''] = found.flatMap(({ id, call }) => (call === undefined ? [id] : []))
  expect(await alarmOf(waiting)).toEqual({ state: 'active' })
  return {
    worker,
    underWay,
    waiting,
    /** Both answer, and are written. */
    async answer() {
      for (const { id, call } of underWay) {
        await reply({})(call)
        await eventually(() => isDelivered(id))
      }
    },
  }
}

describe('an alarm that waits for a place until it rings again', () => {
  it('is left to whoever took it then: no step of its schedule is skipped', async () => {
    await insertWebhooks(1, 'wh_two_', tenant.url)
    const { worker, waiting, answer } = await crowd('wh_two_1')
    worker.passes(61_000)
    await sql`update relevo_queue.job set started_on = now() - interval '61 s' where id = ${waiting}`
    await ringAgain()
    tenant.next(reply({}, 500, { 'retry-after': '1000' }))
    const other = startWorker()
    await eventually(async () => (await rowOf(waiting))?.status === 'failed')
    await other.close()
    await answer()
    // Had it been attempted again, then before this one, and as a surprise.
    tenant.next(reply({}))
    const [next = ''] = await enqueued('wh_two_1', 1)
    await eventually(() => isDelivered(next))
    expect(await rowOf(waiting)).toMatchObject({ status: 'failed', failures: 1, attempts: 1 })
    expect(await alarmOf(waiting)).toEqual({ state: 'created' })
  })

  it('is not lost where there is one process: it rings again, and is attempted', async () => {
    await insertWebhooks(1, 'wh_one_', tenant.url)
    const { worker, waiting, answer } = await crowd('wh_one_1')
    worker.passes(41_000)
    await answer()
    // An attempt of 15 s might have ended after another process was given it.
    expect(await rowOf(waiting)).toMatchObject({ status: 'pending', attempts: 0 })
    await sql`update relevo_queue.job set heartbeat_on = now() - interval '16 s' where id = ${waiting}`
    tenant.next(reply({}))
    await ringAgain()
    await eventually(() => isDelivered(waiting))
    expect(await rowOf(waiting)).toMatchObject({ attempts: 1 })
  })
})

describe('a delivery that another process attempts again while an attempt of it hangs', () => {
  it('is left to that one when the attempt fails, which is counted', async () => {
    await insertWebhooks(1, 'wh_again_', tenant.url)
    const { underWay, waiting } = await crowd('wh_again_1')
    const [hung, last] = underWay
    if (hung === undefined || last === undefined) throw new Error('two are under way')
    const again = Promise.withResolvers<void>()
    tenant.next(async (call) => {
      await again.promise
      await reply({})(call)
    })
    await redeliver(database, workspaceId, hung.id, (tx, deliveries) => ringAnew(queue, tx, deliveries))
    const due = async () => (await sql`select due_at::text from deliveries where id = ${hung.id}`)[0]?.due_at
    const dueAt = await due()
    // The other has both its places taken.
    const count = tenant.received.length
    startWorker()
    await eventually(() => tenant.received.length === count + 1)
    expect(tenant.received.at(-1)?.headers['x-webhook-event-id']).toBe((await rowOf(hung.id))?.event_id)
    // The one that waits has its place now, in the first process.
    tenant.next(reply({}))
    await reply({}, 500)(hung.call)
    await eventually(() => isDelivered(waiting))
    await eventually(async () => (await rowOf(hung.id))?.attempts === 1)
    expect(await rowOf(hung.id)).toMatchObject({ status: 'pending', failures: 0, attempts: 1 })
    expect(await due()).toBe(dueAt)
    expect(await alarmOf(hung.id)).toEqual({ state: 'active' })
    again.resolve()
    await eventually(() => isDelivered(hung.id))
    expect(await alarmOf(hung.id)).toBeUndefined()
    await reply({})(last.call)
    await eventually(() => isDelivered(last.id))
  })

  it('leaves nothing of a response that comes once it was emptied, delivered or not', async () => {
    const [id = ''] = await enqueued('wh_emptied', 1)
    await sql`update deliveries set status = 'delivered', due_at = null, envelope = null where id = ${id}`
    const at = new Date()
    const attempt = {
      id: newUuid(),
      createdAt: at,
      status: 200,
      failure: null,
      durationMs: 1,
      connectMs: 1,
      headMs: 1,
      bytes: 2,
      responseHeaders: { 'x-person': 'Ana' },
      responseBody: Buffer.from('Ana'),
    }
    const ended = { status: 'delivered', reason: null, attempts: 1, failures: 0, dueAt: null } as const
    const progress = { workspaceId, deliveryId: id, webhookId: 'wh_emptied', wasDueAt: at, at, ...ended, attempt }
    await recordProgress(database.work, [progress], 'once')
    const [made] = await sql`select * from attempts where delivery_id = ${id}`
    expect(made).toMatchObject({ status: 200, response_headers: null, response_body: null })
    await queue.remove(statementsOf(database.work), [id])
  })

  it('stays as it was left when what became of the attempt is written late, or twice', async () => {
    const [id = ''] = await enqueued('wh_away', 1)
    const [delivery] = await loadWaiting(database.work, [{ workspaceId, deliveryId: id }])
    if (delivery === undefined) throw new Error('it waits')
    const at = new Date()
    const base = { workspaceId, deliveryId: id, webhookId: 'wh_away', wasDueAt: delivery.dueAt, at, attempt: null }
    const failed = {
      ...base,
      status: 'failed',
      reason: null,
      attempts: 1,
      failures: 1,
      dueAt: new Date(at.getTime() + 5000),
    } as const
    const write = () => recordProgress(database.work, [failed], 'once')
    // The database's answer to the first was lost.
    expect([await write(), await write()]).toEqual([new Set([id]), new Set([id])])
    await redeliver(database, workspaceId, id, (tx, deliveries) => ringAnew(queue, tx, deliveries))
    expect(await write()).toEqual(new Set())
    expect(await rowOf(id)).toMatchObject({ status: 'pending', failures: 0 })
    const ended = { ...failed, status: 'delivered', dueAt: null } as const
    expect(await recordProgress(database.work, [ended], 'once')).toEqual(new Set([id]))
    expect(await recordProgress(database.work, [ended], 'once')).toEqual(new Set())
    await queue.remove(statementsOf(database.work), [id])
  })
})

describe('a worker that is told to end while deliveries are read', () => {
  /** Three of one webhook are taken, two of them are read; then it is told to end, and `answer` is what comes of it. */
  async function endWhileRead(prefix: string, answer: StorageError | Map<string, KnownWebhook>) {
    await insertWebhooks(1, prefix, tenant.url)
    const ids = await enqueued(`${prefix}1`, 3)
    let loads = 0
    const reading = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<Map<string, KnownWebhook>>()
    const worker = startWorker({
      load: () => {
        loads++
        reading.resolve()
        return asked.promise
      },
    })
    await reading.promise
    const closed = worker.close()
    if (answer instanceof Map) asked.resolve(answer)
    else asked.reject(answer)
    await closed
    const alarms = await Promise.all(ids.map(async (id) => (await alarmOf(id))?.state))
    await sql`delete from relevo_queue.job where id = any(${ids})`
    return { loads, alarms }
  }

  it('reads no more where the database hangs, and leaves what it took to ring by itself', async () => {
    const hung = new StorageError('read webhooks', 'timeout', null)
    expect(await endWhileRead('wh_hung_', hung)).toEqual({ loads: 1, alarms: ['active', 'active', 'active'] })
  })

  it('gives all that it took back where the database answers', async () => {
    expect(await endWhileRead('wh_back_', new Map())).toEqual({ loads: 1, alarms: ['created', 'created', 'created'] })
  })
})

describe('a worker that ends while a row is locked that it attempted', () => {
  it('gives it back: it is attempted again', async () => {
    await insertWebhooks(1, 'wh_locked_', tenant.url)
    const [id = ''] = await enqueued('wh_locked_1', 1)
    const [held, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const holding = sql.begin(async (tx) => {
      await tx`select 1 from deliveries where id = ${id} for update`
      held.resolve()
      await over.promise
    })
    await held.promise
    tenant.next(reply({}))
    const worker = startWorker()
    await waitForLocks(database.sql, 1)
    await worker.close().finally(over.resolve)
    await holding
    expect([await rowOf(id), await alarmOf(id)]).toMatchObject([
      { status: 'pending', attempts: 0 },
      { state: 'created' },
    ])
    tenant.next(reply({}))
    startWorker()
    await eventually(() => isDelivered(id))
  })
})

describe('the webhooks of deliveries', () => {
  it('are as another process left them, within a second (contract.md §8)', async () => {
    await insertWebhooks(1, 'wh_changed_', 'http://127.0.0.1:1')
    const book = newBook()
    const webhook = async () => (await book.load([{ workspaceId, webhookId: 'wh_changed_1' }])).get('wh_changed_1')
    expect(await webhook()).toMatchObject({ active: true })
    await sql`update webhooks set active = false, url = 'http://127.0.0.1:2' where id = 'wh_changed_1'`
    const changed = await eventually(async () => ((await webhook())?.active ? null : webhook()), { timeoutMs: 1000 })
    expect(changed?.url).toBe('http://127.0.0.1:2')
  })

  it('are all found, though more are known than are kept: a delivery whose webhook is not found ends', async () => {
    await insertWebhooks(5003, 'wh_many_', 'http://127.0.0.1:1')
    const book = newBook()
    const named = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, index) => ({ workspaceId, webhookId: `wh_many_${from + index}` }))
    await book.load(named(1, 5000))
    // As many as are kept, and one that is fresh: the next that is read has all of them cleared.
    await book.load(named(5001, 5001))
    const loads = await Promise.all([
      book.load(named(5001, 5002)),
      book.load([...named(5001, 5001), ...named(5003, 5003)]),
    ])
    expect(loads.map((found) => [...found.keys()].toSorted())).toEqual([
      ['wh_many_5001', 'wh_many_5002'],
      ['wh_many_5001', 'wh_many_5003'],
    ])
  })
})
