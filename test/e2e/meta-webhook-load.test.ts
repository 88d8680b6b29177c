import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { waitForLocks } from '../support/locks.ts'
import {
  bodyOf,
  entryOf,
  flowChange,
  messageChange,
  nfmReply,
  postEvents,
  type TellTale,
  tellTale,
} from '../support/meta-webhook.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

let relevo: TestRelevo
let tale: TellTale
const url = 'http://127.0.0.1:9999/hook'
/** On two cores that others use as well. A thousand round trips for each statement would be far beyond. */
const mostMs = 15_000
const platformSecret = 'platform-app-secret-0123456789'
const events = ['whatsapp.flows.completed', 'whatsapp.flows.alert', 'whatsapp.flows.status_changed']

beforeAll(async () => {
  relevo = await startRelevo({ META_APP_SECRETS: platformSecret })
  tale = tellTale(relevo)
})
afterAll(async () => {
  await tale.close()
  await relevo.close()
})

/** Answers 200 and prints how long that took. */
async function timed(name: string, body: object, secret: string): Promise<number> {
  const text = JSON.stringify(body)
  const startedAt = performance.now()
  const { status } = await postEvents(relevo, text, secret)
  const ms = performance.now() - startedAt
  expect(status).toBe(200)
  console.log(`${name}: ${(text.length / 1e6).toFixed(2)} MB in ${Math.round(ms)} ms`)
  return ms
}

const count = async (table: string, { workspaceId }: TestAccount): Promise<number> => {
  const [row] =
    await tale.sql`select count(*)::int as count from ${tale.sql(table)} where workspace_id = ${workspaceId}`
  return row?.count
}

describe('a thousand changes', () => {
  it('of 3 MB, all completions of as many people, with two webhooks, are quick, and quicker the second time', async () => {
    const account = await createAccount(relevo)
    for (let webhook = 0; webhook < 2; webhook++) await createWebhook(relevo, account, url, { events })
    const padding = randomBytes(1100).toString('hex')
    const changes = Array.from({ length: 1000 }, (_, index) =>
      nfmReply({ from: `52155500${10_000 + index}`, response: { flow_token: `bulk-${index}`, padding } }),
    )
    const body = bodyOf(entryOf(account.wabaId, ...changes))
    const ms = await timed('1,000 completions', body, account.appSecret)
    expect(ms).toBeLessThan(mostMs)
    expect(await count('clients', account)).toBe(1000)
    expect(await count('conversations', account)).toBe(1000)
    expect(await count('flow_responses', account)).toBe(1000)
    expect(await count('deliveries', account)).toBe(2000)
    expect(await timed('the same again', body, account.appSecret)).toBeLessThan(mostMs)
    expect(await count('deliveries', account)).toBe(2000)
  })

  it('of one person’s messages, and of notices', async () => {
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, url, { events })
    const messages = Array.from({ length: 1000 }, () => messageChange())
    expect(
      await timed('1,000 messages of one', bodyOf(entryOf(account.wabaId, ...messages)), account.appSecret),
    ).toBeLessThan(mostMs)
    const [row] = await tale.sql`select message_count from conversations where workspace_id = ${account.workspaceId}`
    expect(row?.message_count).toBe(1000)
    const notices = Array.from({ length: 1000 }, (_, index) =>
      flowChange({ event: 'ENDPOINT_LATENCY', flow_id: String(index % 7), p90_latency: index }),
    )
    expect(await timed('1,000 alerts', bodyOf(entryOf(account.wabaId, ...notices)), account.appSecret)).toBeLessThan(
      3000,
    )
    expect(await count('deliveries', account)).toBe(1000)
  })

  it('of 20 tenants, signed by the platform’s app', { timeout: 90_000 }, async () => {
    const accounts: TestAccount[] = []
    while (accounts.length < 20) {
      const account = await createAccount(relevo)
      accounts.push(account)
      const { workspaceId, wabaId } = account
      await relevo.api('PATCH', `/v1/wabas/${wabaId}`, { workspaceId, body: { verification: 'verified' } })
    }
    const entries = Array.from({ length: 1000 }, (_, index) =>
      entryOf(accounts[index % 20]?.wabaId ?? '', messageChange()),
    )
    expect(await timed('1,000 entries of 20 tenants', bodyOf(...entries), platformSecret)).toBeLessThan(mostMs)
    for (const account of accounts) expect(await count('meta_events', account)).toBe(50)
  })
})

describe('bodies at the same time', () => {
  it('take half of the connections that deliveries and maintenance have too, and wait for their turns', async () => {
    const accounts = await Promise.all([1, 2, 3, 4].map(() => createAccount(relevo)))
    const bodies = accounts.flatMap((account) =>
      Array.from({ length: 6 }, () => ({ account, body: bodyOf(entryOf(account.wabaId, messageChange())) })),
    )
    const send = async ({ account, body }: (typeof bodies)[number]) =>
      (await postEvents(relevo, body, account.appSecret)).status
    let posts: Promise<number>[] = []
    const holder = tellTale(relevo)
    await holder.sql.begin(async (tx) => {
      await tx`lock table meta_events in access exclusive mode`
      // Each is given up after a second.
      posts = bodies.map(send)
      await waitForLocks(tale.sql, 2)
      // What comes through the same listener after them.
      await accounts[0]?.meta.call({ version: '3.0', action: 'ping' })
      await waitForLocks(tale.sql, 2)
    })
    await holder.close()
    for (const [at, body] of bodies.entries()) {
      if ((await posts[at]) !== 200) await eventually(async () => (await send(body)) === 200)
    }
    for (const account of accounts) expect(await count('meta_events', account)).toBe(6)
  })

  it('with the same people and tokens in other orders, and exchanges of those tokens, wait for each other and all succeed', async () => {
    const tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    const account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url, { events: ['whatsapp.flows.exchanges', ...events] })
    const people = Array.from({ length: 40 }, (_, index) => index)
    const shuffled = () => people.toSorted(() => Math.random() - 0.5)
    const bodies = Array.from({ length: 20 }, () =>
      bodyOf(
        entryOf(
          account.wabaId,
          ...shuffled().flatMap((index) => [
            nfmReply({ from: `52155500${10_000 + index}`, response: { flow_token: `same-${index}` } }),
            flowChange({
              event: 'FLOW_STATUS_CHANGE',
              flow_id: String(index),
              new_status: 'PUBLISHED',
              at: Math.random(),
            }),
          ]),
        ),
      ),
    )
    // No more than Relevo serves whatever else it has to do.
    const exchanges = Array.from({ length: 24 }, (_, index) => account.meta.init(`same-${(index * 3) % 40}`))
    const answers = await Promise.all(bodies.map((body) => postEvents(relevo, body, account.appSecret)))
    expect(answers.map(({ status }) => status)).toEqual(bodies.map(() => 200))
    await Promise.all(exchanges)
    await relevo.exchanges(account, 24)
    const rows =
      await tale.sql`select status, confirmed_at from flow_responses where workspace_id = ${account.workspaceId}`
    expect(rows.filter((row) => row.status === 'COMPLETED' && row.confirmed_at !== null)).toHaveLength(40)
    const completed = await tale.sql`select count(*)::int as count from deliveries
      where workspace_id = ${account.workspaceId} and event = 'whatsapp.flows.completed'`
    expect(completed[0]?.count).toBe(40)
    expect(await count('conversations', account)).toBe(40)
    await tenant.close()
  })
})
