import { afterAll, beforeAll, expect, test } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
import { newId, newUuid } from '../../../src/domain/ids.ts'
import { redeliver } from '../../../src/storage/redelivery.ts'
import { type DeliverySample, insertAttempt, insertDelivery } from '../../support/log-rows.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { insertExchange, nextNumber, nextPhoneNumber } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

const attempt = { status: 200, failure: null, durationMs: 20.25, connectMs: 1, headMs: 19, bytes: 120 }
const timings = { verify: 0.1, decrypt: 0.4, enrich: 1.5, webhook: 20.25, encrypt: 0.1, total: 22.5 }

/** A recorded exchange with something of a person in every column that can hold it. */
function exchangeOf(mark: string, members: { clientId?: string; flowToken?: string }): Promise<string> {
  const { flowToken = null, clientId = null } = members
  const id = newUuid()
  return insertExchange(api, workspace, {
    id,
    event: 'whatsapp.flows.screen_advance',
    action: 'data_exchange',
    screen: `${mark}-screen`,
    flowToken,
    flowTokenDigest: flowToken === null ? null : sha256(flowToken),
    clientId,
    outcome: 'replied',
    durationMs: 22.5,
    webhookMs: 20.25,
    timings,
    attempt,
    envelope: Buffer.from(JSON.stringify({ id, mark })),
    answer: Buffer.from(JSON.stringify({ screen: `${mark}-next` })),
    answerScreen: `${mark}-next`,
  })
}

async function makePerson(mark: string) {
  const phoneNumber = nextPhoneNumber()
  const body = { phoneNumber, name: `${mark}-name`, attributes: { note: `${mark}-note` } }
  const { id: clientId } = await workspace.make('/v1/clients', body)
  const conversation = await workspace.make('/v1/conversations', { clientId, topic: `${mark}-topic` })
  const tokens = [`${mark}-token-${nextNumber()}`, `${mark}-token-${nextNumber()}`] as const
  await workspace.make('/v1/flow-responses', { flowToken: tokens[0], clientId })
  // Named by the conversation alone.
  await workspace.make('/v1/flow-responses', { flowToken: tokens[1], conversationId: conversation.id })
  const exchangeIds = [
    await exchangeOf(mark, { clientId, flowToken: tokens[0] }),
    // Recorded before the token was linked to anybody.
    await exchangeOf(mark, { flowToken: tokens[0] }),
    await exchangeOf(mark, { flowToken: tokens[1] }),
    // Its flow response has since been linked to somebody else.
    await exchangeOf(mark, { clientId, flowToken: `${mark}-gone` }),
    await exchangeOf(mark, { clientId }),
  ]
  const deliveryIds = [
    await deliveryOf(mark, { clientId, flowToken: tokens[0], status: 'delivered' }),
    await deliveryOf(mark, { clientId, status: 'pending' }),
    await deliveryOf(mark, { flowToken: tokens[1], status: 'failed' }),
    await deliveryOf(mark, { flowToken: tokens[0], status: 'exhausted' }),
  ]
  return { clientId, phoneNumber, conversation, exchangeIds, deliveryIds }
}

/** A delivery, and an attempt whose webhook sent back what it was sent. */
async function deliveryOf(mark: string, members: DeliverySample): Promise<string> {
  const { sql } = api.database
  const deliveryId = await insertDelivery(sql, workspace.id, { envelope: `${mark}-envelope`, ...members })
  await insertAttempt(sql, workspace.id, { deliveryId, body: `${mark}-echo` })
  return deliveryId
}

/** All that is stored, as text; but for the audit log, which names what was done to which id. */
async function everything(): Promise<string> {
  const { sql } = api.database
  const tables = await sql`select table_name as name from information_schema.tables
    where table_schema = 'public' and table_name <> 'audit_log'`
  const rows = tables.map(({ name }) => sql`select t::text as row, to_jsonb(t)::text as json from ${sql(name)} t`)
  return (await Promise.all(rows))
    .flat()
    .flatMap(({ row, json }) => [row, json, unhex(row)])
    .join('\n')
}

/** Bytea stands in a row's text as hex. */
function unhex(row: string): string {
  return row.replace(/\\\\?x([0-9a-f]+)/g, (_, hex) => Buffer.from(hex, 'hex').toString('latin1'))
}

test('removes the person everywhere, and no other; rows keep their figures', async () => {
  const gone = await makePerson('gone-person')
  const other = await makePerson('other-person')
  for (const trace of ['gone-person-name', '"mark":"gone-person"', 'gone-person-envelope', 'gone-person-echo'])
    expect(await everything()).toContain(trace)
  const before = (await workspace.get(`/v1/exchanges/${other.exchangeIds[0]}`)).body

  const answer = await workspace.remove(`/v1/clients/${gone.clientId}`)
  expect(answer).toMatchObject({ status: 204, text: '' })
  expect(answer.headers.get('x-expunged')).toBe('exchanges=5,flowResponses=2,conversations=1,deliveries=4')

  const left = await everything()
  for (const trace of ['gone-person', gone.phoneNumber.slice(1), gone.clientId, gone.conversation.id]) {
    expect(left).not.toContain(trace)
  }
  for (const id of gone.exchangeIds) {
    const { body } = await workspace.get(`/v1/exchanges/${id}`)
    expect(body).toMatchObject({
      outcome: 'replied',
      event: 'whatsapp.flows.screen_advance',
      durationMs: 22.5,
      webhookMs: 20.25,
      timings,
      attempt,
      envelope: null,
      reply: null,
      screen: null,
      flowToken: null,
      clientId: null,
    })
  }
  const deliveries = await api.database.sql`select d.id, d.status, d.due_at, a.status as answered
    from deliveries d join attempts a on a.delivery_id = d.id where d.id = any(${gone.deliveryIds}::text[]::uuid[]) order by d.id`
  const endings = ['delivered', 'expunged', 'expunged', 'exhausted']
  const ended = gone.deliveryIds.map((id, n) => ({ id, status: endings[n], due_at: null, answered: 500 }))
  expect([...deliveries]).toEqual(ended)
  const untouched = await api.database.sql`select from deliveries where id = any(${other.deliveryIds}::text[]::uuid[])
    and envelope is not null and status = any('{pending,failed}') and due_at is not null`
  expect(untouched).toHaveLength(2)
  expect((await workspace.get(`/v1/exchanges/${other.exchangeIds[0]}`)).body).toEqual(before)
  expect((await workspace.get('/v1/flow-responses')).body.data).toHaveLength(2)
  expect((await workspace.get(`/v1/conversations/${other.conversation.id}`)).status).toBe(200)
  expect((await workspace.get(`/v1/conversations/${gone.conversation.id}`)).status).toBe(404)
})

test('again it is not there; the phone number makes another client', async () => {
  const { clientId, phoneNumber } = await makePerson('short')
  await workspace.remove(`/v1/clients/${clientId}`)
  for (const id of [clientId, newId('client')]) {
    const answer = await workspace.remove(`/v1/clients/${id}`)
    expect(answer.status).toBe(404)
    expect(answer.headers.get('x-expunged')).toBeNull()
  }
  const again = await workspace.post('/v1/clients', { phoneNumber })
  expect(again.status).toBe(201)
  expect(again.body).toMatchObject({ name: null, attributes: {} })
})

test('the same person in another workspace stays', async () => {
  const phoneNumber = nextPhoneNumber()
  const other = await api.makeWorkspace()
  const mine: Json = await workspace.make('/v1/clients', { phoneNumber })
  const theirs: Json = await other.make('/v1/clients', { phoneNumber })
  await other.make('/v1/flow-responses', { flowToken: 'shared-by-chance', clientId: theirs.id })
  await workspace.make('/v1/flow-responses', { flowToken: 'shared-by-chance', clientId: mine.id })
  const answer = await workspace.remove(`/v1/clients/${mine.id}`)
  expect(answer.headers.get('x-expunged')).toBe('exchanges=0,flowResponses=1,conversations=0,deliveries=0')
  expect((await other.get(`/v1/clients/${theirs.id}`)).body.phoneNumber).toBe(phoneNumber)
  expect((await other.get('/v1/flow-responses')).body.data).toHaveLength(1)
  expect((await other.remove(`/v1/clients/${mine.id}`)).status).toBe(404)
})

test('finds its exchanges by index, not by reading all of the workspace', async () => {
  const { sql } = api.database
  const plans = await sql.begin(async (tx) => {
    await tx`set local enable_seqscan = off`
    const byClient = await tx`explain update exchanges set screen = null
      where workspace_id = ${workspace.id} and client_id = 'x'`
    const deliveries = await tx`explain update deliveries set envelope = null
      where workspace_id = ${workspace.id} and client_id = 'x'`
    const byToken =
      await tx`explain select 1 from flow_responses where workspace_id = ${workspace.id} and client_id = 'x'
      union select 1 from flow_responses where workspace_id = ${workspace.id} and conversation_id = 'x'`
    return [...byClient, ...deliveries, ...byToken].map((row) => row['QUERY PLAN']).join('\n')
  })
  // Indexes of partitions are named by what they are on.
  for (const index of [
    'exchanges_.*_workspace_id_client_id_idx',
    'deliveries_.*_workspace_id_client_id_idx',
    'flow_responses_of_client',
    'flow_responses_of_conversation',
  ]) {
    expect(plans).toMatch(new RegExp(index))
  }
})

test('a change of a person who is being expunged waits for less than its time, and is no reason to doubt the database', async () => {
  const { clientId, phoneNumber, conversation, deliveryIds } = await makePerson('locked')
  const other = await makePerson('locked-too')
  const [deliveryId = ''] = deliveryIds
  const before = api.reported.length
  const [redelivery, ...answers] = await api.database.work.begin(async (held) => {
    await held`select 1 from clients where id in (${clientId}, ${other.clientId}) for update`
    await held`select 1 from conversations where id = ${conversation.id} for update`
    await held`select 1 from deliveries where id = ${deliveryId} for update`
    return Promise.all([
      redeliver(api.database, workspace.id, deliveryId, async () => {}).catch((error: unknown) => error),
      workspace.post('/v1/clients', { phoneNumber }),
      workspace.patch(`/v1/clients/${other.clientId}`, { name: 'n' }),
      workspace.remove(`/v1/conversations/${conversation.id}`),
    ])
  })
  expect(redelivery).toMatchObject({ code: '55P03' })
  for (const answer of answers) {
    expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    expect(answer.headers.get('retry-after')).toBe('1')
  }
  for (const { error } of api.reported.slice(before)) expect(error).toMatchObject({ code: '55P03', unavailable: false })
  expect(api.reported).toHaveLength(before + answers.length)
})
