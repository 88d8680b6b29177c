import { pino } from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newWorkspaceId } from '../../../src/domain/ids.ts'
import { readMetaEntries } from '../../../src/domain/meta-webhook.ts'
import { Backlog } from '../../../src/events/backlog.ts'
import { Queue } from '../../../src/events/queue.ts'
import type { Account, RelayWebhook } from '../../../src/relay/directory.ts'
import { MetaEvents } from '../../../src/relay/meta-events.ts'
import { Teller } from '../../../src/relay/teller.ts'
import { type Database, openDatabase, type StorageError } from '../../../src/storage/database.ts'
import { bodyOf, entryOf, messageChange, nfmReply } from '../../support/meta-webhook.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'

let opened: OpenedDatabase
let other: Database
/** Of two processes. */
let processes: { readonly events: MetaEvents; readonly backlog: Backlog }[]
const log = pino({ enabled: false })

beforeAll(async () => {
  opened = await openTestDatabase()
  const name = new URL(opened.made.url).pathname.slice(1)
  // Before a wait for a lock is given up: two that wait for each other are told so.
  await opened.sql.unsafe(`alter database ${name} set deadlock_timeout = '50ms'`)
  other = openDatabase(opened.made.settings)
  processes = [opened.database, other].map((database) => {
    const metrics = { metaEvents: () => undefined, deliveryExhausted: () => undefined }
    const backlog = new Backlog(database, log, metrics)
    const teller = new Teller(new Queue(database), backlog)
    const wake = () => undefined
    return { backlog, events: new MetaEvents({ database, teller, metrics, log, wake, configChanged: async () => {} }) }
  })
})
afterAll(async () => {
  for (const { backlog } of processes) await backlog.close()
  await other.close()
  await opened.close()
})

/** Of a workspace of its own, with so many webhooks that are told of completions. */
async function makeAccount(webhooks = 0): Promise<Account> {
  const workspaceId = newWorkspaceId()
  await opened.sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
  const webhook = (_: unknown, index: number): RelayWebhook => ({
    id: `wh_${index}`,
    active: true,
    events: ['whatsapp.flows.completed'],
    flowIds: null,
    createdAt: new Date(),
    url: 'https://tenant.test',
    timeoutMs: null,
    fallback: null,
    format: 'envelope',
    breakerMode: 'on',
    headers: () => ({}),
    signingSecrets: () => ({ current: null, previous: [] }),
  })
  return {
    workspaceId,
    wabaId: '1',
    flows: [],
    webhooks: Array.from({ length: webhooks }, webhook),
    fallsBackToAnswers: false,
    appSecrets: () => [],
    verified: true,
    verifyToken: () => null,
    requireTokenSignature: false,
    flowKeys: () => ({ ids: [], keys: [] }),
  }
}

/** Applies what is told of each account, by one of the processes. */
async function apply(told: readonly (readonly [Account, ...object[]])[], process = 0): Promise<void> {
  const admitted = told.flatMap(([account, ...changes]) =>
    (readMetaEntries(JSON.stringify(bodyOf(entryOf(account.wabaId, ...changes)))) ?? []).map((entry) => ({
      account,
      entry,
    })),
  )
  await processes[process]?.events.apply(admitted)
}

/** How many things that were told of a workspace are written, and in how many transactions. */
async function written({ workspaceId }: Account): Promise<{ things: number; transactions: number }> {
  const [row] = await opened.sql`
    select count(*)::int as things, count(distinct xmin::text)::int as transactions from meta_events
    where workspace_id = ${workspaceId}`
  return { things: row?.things, transactions: row?.transactions }
}

/** Why it was not applied. */
const failureOf = (applying: Promise<void>): Promise<StorageError> =>
  applying.then(
    () => Promise.reject(new Error('it was applied')),
    (error: unknown) => error as StorageError,
  )

it('what one workspace’s rows refuse keeps nothing of the others’ from being written', async () => {
  const [broken, sound] = [await makeAccount(), await makeAccount()]
  await opened.sql.unsafe(`alter table clients add constraint broken check (workspace_id <> '${broken.workspaceId}')`)
  const body = [
    [broken, messageChange()],
    [sound, messageChange()],
  ] as const
  for (let time = 0; time < 2; time++) {
    expect(await failureOf(apply(body))).toMatchObject({ constraint: 'broken' })
    expect([await written(broken), await written(sound)]).toMatchObject([{ things: 0 }, { things: 1 }])
  }
  await opened.sql`alter table clients drop constraint broken`
  await apply(body)
  expect([await written(broken), await written(sound)]).toMatchObject([{ things: 1 }, { things: 1 }])
})

it('a workspace whose rows are locked is given up soon, and is no reason to doubt the database', async () => {
  const [held, free] = [await makeAccount(), await makeAccount()]
  await apply([[held, messageChange()]])
  let failure: StorageError | null = null
  await opened.sql.begin(async (tx) => {
    await tx`select 1 from clients where workspace_id = ${held.workspaceId} for update`
    failure = await failureOf(
      apply([
        [held, messageChange()],
        [free, messageChange()],
      ]),
    )
  })
  expect(failure).toMatchObject({ sqlState: '55P03', unavailable: false })
  expect([await written(held), await written(free)]).toMatchObject([{ things: 1 }, { things: 1 }])
})

it('what many webhooks are told of is written in several transactions', async () => {
  const account = await makeAccount(40)
  const changes = Array.from({ length: 130 }, (_, index) =>
    nfmReply({ from: `52155500${10_000 + index}`, response: { flow_token: `many-${index}` } }),
  )
  await apply([[account, ...changes]])
  // 125 of them make 5,000 deliveries.
  expect(await written(account)).toEqual({ things: 130, transactions: 2 })
  const [row] =
    await opened.sql`select count(*)::int as count from deliveries where workspace_id = ${account.workspaceId}`
  expect(row?.count).toBe(5200)
})

it('two processes take flow responses of people whose rows nothing locks in one order', async () => {
  const account = await makeAccount()
  const tokens = Array.from({ length: 200 }, (_, index) => `nobody-${index}`)
  const applying = Array.from({ length: 12 }, (_, turn) => {
    const turned = turn % 2 === 0 ? tokens : tokens.toReversed()
    const changes = turned.map((flow_token) => nfmReply({ from: 'US.1', response: { flow_token } }))
    return apply([[account, ...changes]], turn % 2)
  })
  const failures = (await Promise.allSettled(applying)).flatMap((end) =>
    end.status === 'rejected' ? [end.reason.code] : [],
  )
  // On a machine that is busy one may wait too long for the other. Never for each other.
  expect(failures.filter((code) => code !== '55P03')).toEqual([])
})
