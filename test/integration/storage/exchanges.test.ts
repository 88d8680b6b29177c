import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
import { type FlowResponse, firstSeen } from '../../../src/domain/flow-response.ts'
import { newId, newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { migrate } from '../../../src/migrate.ts'
import { storageOn } from '../../../src/storage/backends.ts'
import { claimFlowResponses } from '../../../src/storage/completions.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import type { ClosedExchange, OpenedExchange } from '../../../src/storage/exchange-record.ts'
import {
  closeInterrupted,
  type ExchangeGroup,
  replayExchanges,
  writeExchanges,
} from '../../../src/storage/exchanges.ts'
import { expungeClient } from '../../../src/storage/expunge.ts'
import { deleteWorkspace } from '../../../src/storage/workspace-deletion.ts'
import { createEmptyDatabase, type TestDatabase } from '../../support/database.ts'
import { waitForLocks } from '../../support/locks.ts'
import { insertAttempt, insertDelivery } from '../../support/log-rows.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'

let opened: OpenedDatabase
let database: Database
let sql: postgres.Sql
let workspaceId = newWorkspaceId()
const flowToken = 'a-token'

beforeAll(async () => {
  opened = await openTestDatabase()
  ;({ database, sql } = opened)
})
beforeEach(async () => {
  workspaceId = newWorkspaceId()
  await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
})
afterAll(async () => {
  await opened.close()
})

function opening(more: Partial<OpenedExchange> = {}): OpenedExchange {
  const createdAt = more.createdAt ?? new Date()
  return {
    workspaceId,
    id: newUuid(),
    createdAt,
    wabaId: '1',
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: null,
    flowToken,
    flowId: null,
    clientId: null,
    webhookId: null,
    envelope: Buffer.from('{"an":"envelope"}'),
    flowResponse: firstSeen(newId('flowResponse'), flowToken, null, createdAt),
    ...more,
  }
}

function closing({ id, clientId }: OpenedExchange, more: Partial<ClosedExchange> = {}): ClosedExchange {
  return {
    workspaceId,
    id,
    clientId,
    outcome: 'replied',
    reason: null,
    durationMs: 12.5,
    webhookMs: 10,
    timings: { verify: 1, decrypt: 1, enrich: 1, webhook: 10, encrypt: 1, total: 12.5 },
    answer: Buffer.from('{"screen":"NEXT"}'),
    answerScreen: 'NEXT',
    attempt: null,
    completed: null,
    ...more,
  }
}

type Rows = Omit<ExchangeGroup, 'deliveries'>
const nobody = async () => {}
const write = (group: Rows) => writeExchanges(sql, { ...group, deliveries: [] }, nobody)
const replay = (group: Rows) => replayExchanges(sql, { ...group, deliveries: [] }, nobody)
const rows = () => sql`select * from exchanges where workspace_id = ${workspaceId} order by id`
const flowResponses = () => sql`select * from flow_responses where workspace_id = ${workspaceId}`

describe('a group of rows', () => {
  it('is written the same way apart, together, and again', async () => {
    const [first, second] = [opening(), opening()]
    await write({ opened: [first], closed: [] })
    await write({ opened: [second], closed: [closing(first), closing(second)] })
    const written = await rows()
    expect(written.map(({ outcome }) => outcome)).toEqual(['replied', 'replied'])
    // Acknowledgements that were lost: each is written once more, one of them alone and late.
    await write({ opened: [second], closed: [closing(first), closing(second)] })
    await write({ opened: [], closed: [closing(second)] })
    await replay({ opened: [first, second], closed: [closing(first)] })
    expect(await rows()).toEqual(written)
    expect(await flowResponses()).toHaveLength(1)
  })

  it('moves the flow token’s state with its openings and closings', async () => {
    const opened = opening()
    await write({ opened: [opened], closed: [] })
    expect(await flowResponses()).toMatchObject([{ status: 'IN_PROGRESS' }])
    const { flowResponse: state } = opened
    const completed = state && { ...state, status: 'COMPLETED' as const, completedAt: new Date() }
    await write({ opened: [], closed: [closing(opened, { completed })] })
    await replay({ opened: [opened], closed: [] })
    expect(await flowResponses()).toMatchObject([{ status: 'COMPLETED' }])
  })

  it('keeps the answer of one that has neither envelope nor flow token, apart, together, and again', async () => {
    const bare = { event: 'whatsapp.flows.init', flowToken: null, envelope: null, flowResponse: null }
    const [first, second] = [opening(bare), opening(bare)]
    const ends = [closing(first, { isBare: true }), closing(second, { isBare: true })]
    await write({ opened: [first], closed: [] })
    await write({ opened: [second], closed: ends })
    await replay({ opened: [first, second], closed: ends })
    expect((await rows()).map(({ answer }) => String(answer))).toEqual(['{"screen":"NEXT"}', '{"screen":"NEXT"}'])
  })

  it('brings several states of a flow token to what they come to one by one', async () => {
    const at = (minutes: number) => new Date(Date.UTC(2026, 0, 1, 0, minutes))
    const stateOf = (minutes: number, more: Partial<FlowResponse> = {}) => ({
      ...firstSeen(newId('flowResponse'), flowToken, null, at(minutes)),
      ...more,
    })
    const groups: [FlowResponse, FlowResponse, FlowResponse | null][] = [
      // Completed, and another exchange after it, which may have known.
      [stateOf(0), stateOf(2), stateOf(0, { status: 'COMPLETED', completedAt: at(1) })],
      [stateOf(0), stateOf(2, { status: 'COMPLETED', completedAt: at(1) }), null],
      // Twice: the first counts.
      [
        stateOf(0, { status: 'COMPLETED', completedAt: at(0) }),
        stateOf(2),
        stateOf(2, { status: 'COMPLETED', completedAt: at(3) }),
      ],
      // The first opening, the last activity, and the flow that one of them knew.
      [stateOf(5, { flowId: 'flow_1' }), stateOf(3, { openedAt: at(3) }), null],
      // Past its time.
      [stateOf(0), stateOf(3000), stateOf(3000, { status: 'COMPLETED', completedAt: at(3000) })],
    ]
    const stored = async () => {
      const [row] = await flowResponses()
      await sql`delete from flow_responses where workspace_id = ${workspaceId}`
      return row && { ...row, created_at: null, updated_at: null }
    }
    for (const [first, second, completed] of groups) {
      const opened = [opening({ flowResponse: first }), opening({ flowResponse: second })] as const
      const closed = [closing(opened[0], { completed })]
      await write({ opened: [...opened], closed })
      const together = await stored()
      for (const row of opened) await write({ opened: [row], closed: [] })
      await write({ opened: [], closed })
      expect(together).toEqual(await stored())
    }
  })

  it('takes late replies together with their exchange, alone, and again', async () => {
    const [first, second] = [opening(), opening()]
    const lateOf = ({ id }: OpenedExchange, lateReplyMs: number) => ({ workspaceId, id, lateReplyMs })
    await write({ opened: [first], closed: [closing(first)], late: [lateOf(first, 830.5)] })
    await write({ opened: [second], closed: [], late: [lateOf(second, 900)] })
    await write({ opened: [], closed: [closing(second)] })
    await write({ opened: [], closed: [], late: [lateOf(second, 900)] })
    await replay({ opened: [first], closed: [closing(first)], late: [lateOf(first, 830.5)] })
    expect((await rows()).map((row) => row.late_reply_ms)).toEqual([830.5, 900])
  })

  it('is written as a whole or not at all', async () => {
    const [good, bad] = [opening(), opening({ flowId: null, wabaId: null as unknown as string })]
    await expect(write({ opened: [good, bad], closed: [] })).rejects.toThrow('23502')
    expect(await rows()).toEqual([])
    expect(await flowResponses()).toEqual([])
  })
})

describe('a replay', () => {
  it('gives no payloads to a client that was expunged meanwhile, and leaves others as they are', async () => {
    const clientId = newId('client')
    await sql`insert into clients (workspace_id, id, phone_number) values (${workspaceId}, ${clientId}, '+15550100777')`
    const [gone, there] = [
      opening({ clientId: newId('client'), screen: 'S' }),
      opening({ clientId, flowToken: 'other' }),
    ]
    await replay({ opened: [gone, there], closed: [] })
    await replay({ opened: [], closed: [closing(gone), closing(there)] })
    const nothing = {
      envelope: null,
      answer: null,
      answer_screen: null,
      screen: null,
      flow_token: null,
      client_id: null,
    }
    expect(await rows()).toMatchObject([
      { outcome: 'replied', duration_ms: 12.5, ...nothing },
      { outcome: 'replied', client_id: clientId, flow_token: 'other', answer: Buffer.from('{"screen":"NEXT"}') },
    ])
    expect(await flowResponses()).toHaveLength(1)
  })

  it.each(['postgres', 'citus'] as const)('on %s waits for no lock to the end of its time', async (backend) => {
    let bound = ''
    const group = { opened: [opening()], closed: [], deliveries: [] }
    await storageOn(backend).replayExchanges(sql, group, async (tx) => {
      bound = (await tx`show lock_timeout`)[0]?.lock_timeout
    })
    expect(bound).toBe('2s')
  })

  it('gives no rows to a workspace that was deleted meanwhile', async () => {
    const opened = opening()
    await sql`delete from workspaces where id = ${workspaceId}`
    await replay({ opened: [opened], closed: [closing(opened)] })
    expect(await rows()).toEqual([])
    expect(await flowResponses()).toEqual([])
  })
})

describe('a row that nobody closed', () => {
  it('is closed as interrupted after a minute, and by its own closing if that comes after all', async () => {
    const [old, young] = [opening({ createdAt: new Date(Date.now() - 61_000) }), opening()]
    await write({ opened: [old, young], closed: [] })
    const minuteAgo = new Date(Date.now() - 60_000)
    expect(await closeInterrupted(sql, minuteAgo)).toBe(1)
    expect(await closeInterrupted(sql, minuteAgo)).toBe(0)
    const interrupted = { outcome: 'internal_error', reason: 'interrupted', duration_ms: null }
    expect(await rows()).toMatchObject([interrupted, { outcome: null, reason: null }])
    await write({ opened: [], closed: [closing(old)] })
    expect(await rows()).toMatchObject([{ outcome: 'replied', reason: null, duration_ms: 12.5 }, { outcome: null }])
  })
})

describe.each(['postgres', 'citus'] as const)('an exchange of %s that ends', (backend) => {
  const clientId = newId('client')
  let end: () => Promise<void>

  /** An open exchange with SUCCESS to come, of a client with a delivery. */
  beforeEach(async () => {
    await sql`insert into clients (workspace_id, id, phone_number) values (${workspaceId}, ${clientId}, '+15550100778')`
    const opened = opening({ clientId })
    await write({ opened: [opened], closed: [] })
    await sql`update flow_responses set client_id = ${clientId} where workspace_id = ${workspaceId}`
    const deliveryId = await insertDelivery(sql, workspaceId, { clientId })
    await insertAttempt(sql, workspaceId, { deliveryId })
    const { flowResponse: state } = opened
    const completed = state && { ...state, status: 'COMPLETED' as const, completedAt: new Date() }
    const closed = [closing(opened, { completed })]
    end = () => storageOn(backend).writeExchanges(sql, { opened: [], closed, deliveries: [] }, nobody)
  })

  /** Whether both are done, though the one was held up half-way by somebody's lock when the exchange ended. */
  async function together(removal: () => Promise<unknown>, lock: (tx: postgres.TransactionSql) => Promise<unknown>) {
    const both = await sql.begin(async (tx) => {
      await lock(tx)
      const removed = removal()
      await waitForLocks(sql, 1)
      const ended = end()
      await waitForLocks(sql, 2)
      return { done: Promise.allSettled([removed, ended]) }
    })
    return (await both.done).map((result) => (result.status === 'rejected' ? result.reason : null))
  }
  const expunge = () => expungeClient(database, workspaceId, clientId)

  it('while its client is expunged waits for that, and does not lock it out', async () => {
    const held = (tx: postgres.TransactionSql) =>
      tx`select from deliveries where workspace_id = ${workspaceId} for update`
    expect(await together(expunge, held)).toEqual([null, null])
    expect(await rows()).toMatchObject([{ outcome: 'replied', answer: null, flow_token: null, client_id: null }])
  })

  it('while an expunge of its client has just begun waits as well', async () => {
    const held = (tx: postgres.TransactionSql) =>
      tx`insert into expunges values (${workspaceId}, ${sha256(clientId)}, 'client', now())`
    expect(await together(expunge, held)).toEqual([null, null])
    expect(await rows()).toMatchObject([{ outcome: 'replied', answer: null, flow_token: null, client_id: null }])
  })

  it('while its workspace is deleted waits for that, and does not lock it out', async () => {
    const held = (tx: postgres.TransactionSql) =>
      tx`select from attempts where workspace_id = ${workspaceId} for update`
    expect(await together(() => deleteWorkspace(database, workspaceId), held)).toEqual([null, null])
    expect(await rows()).toEqual([])
  })
})

describe('flow responses of several tokens, in a database that orders text as a language does', () => {
  let made: TestDatabase
  let ordered: postgres.Sql
  const tokens = ['\u{1f600}', 'a', '\uff21', 'B']
  const byBytes = ['B', 'a', '\uff21', '\u{1f600}']

  beforeAll(async () => {
    made = await createEmptyDatabase('en')
    await migrate(made.url)
    ordered = postgres(made.url, { max: 3, onnotice: () => undefined })
  })
  afterAll(async () => {
    await ordered.end()
    await made.drop()
  })
  beforeEach(() => ordered`insert into workspaces (id, name) values (${workspaceId}, 'W')`)

  /** As they were inserted, and so locked. */
  const inserted = async () => {
    const rows = await ordered`select flow_token from flow_responses where workspace_id = ${workspaceId} order by ctid`
    return rows.map((row) => row.flow_token)
  }

  it.each(['postgres', 'citus'] as const)(
    'are locked in the order of their bytes by exchanges of %s',
    async (backend) => {
      const rows = tokens.map((token) =>
        opening({ flowToken: token, flowResponse: firstSeen(newId('flowResponse'), token, null, new Date()) }),
      )
      await storageOn(backend).writeExchanges(ordered, { opened: rows, closed: [], deliveries: [] }, async () => {})
      expect(await inserted()).toEqual(byBytes)
    },
  )

  it('are locked in the same order by what Meta tells of their completion', async () => {
    await ordered.begin((tx) => claimFlowResponses(tx, workspaceId, tokens, new Date()))
    expect(await inserted()).toEqual(byBytes)
  })

  it('are locked in the same order by an expunge', async () => {
    const clientId = newId('client')
    await ordered`insert into clients (workspace_id, id, phone_number) values (${workspaceId}, ${clientId}, '+15550100')`
    await ordered.begin((tx) => claimFlowResponses(tx, workspaceId, tokens, new Date()))
    await ordered`update flow_responses set client_id = ${clientId} where workspace_id = ${workspaceId}`
    const relevo = openDatabase({ url: made.url, prepare: true })
    let expunged: Promise<unknown> = Promise.resolve()
    await ordered.begin(async (tx) => {
      const first = byBytes[0] ?? ''
      await tx`select from flow_responses where workspace_id = ${workspaceId} and flow_token = ${first} for update`
      expunged = expungeClient(relevo, workspaceId, clientId)
      await waitForLocks(ordered, 1)
      const free = await ordered`
        select flow_token from flow_responses where workspace_id = ${workspaceId} for update skip locked`
      expect(free).toHaveLength(3)
    })
    await expunged
    await relevo.close()
  })
})
