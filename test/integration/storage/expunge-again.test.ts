import type postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sha256 } from '../../../src/crypto/digest.ts'
import { firstSeen } from '../../../src/domain/flow-response.ts'
import { newId, newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { type Database, openDatabase, type Queryable } from '../../../src/storage/database.ts'
import type { ClosedExchange, OpenedExchange } from '../../../src/storage/exchange-record.ts'
import { replayExchanges, writeExchanges } from '../../../src/storage/exchanges.ts'
import { expungeClient } from '../../../src/storage/expunge.ts'
import { expungeAgain } from '../../../src/storage/expunge-again.ts'
import { insertAttempt, insertDelivery, insertExchange } from '../../support/log-rows.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'
import { shardFault } from '../../support/shard-rule.ts'
import { tapStatements } from '../../support/statement-tap.ts'

let opened: OpenedDatabase
let database: Database
let sql: postgres.Sql
let workspaceId = newWorkspaceId()
let clientId = newId('client')
const flowToken = 'a-token'
const secondAgo = () => new Date(Date.now() - 1000)
const soon = () => new Date(Date.now() + 60_000)

beforeAll(async () => {
  opened = await openTestDatabase()
  ;({ database, sql } = opened)
})
afterAll(async () => {
  await opened.close()
})
beforeEach(async () => {
  workspaceId = newWorkspaceId()
  clientId = newId('client')
  await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
  await register(flowToken)
})

/** A client, and a flow token of theirs. */
async function register(token: string): Promise<void> {
  await sql`insert into clients (workspace_id, id, phone_number) values (${workspaceId}, ${clientId}, ${`+1555${Math.trunc(Math.random() * 1e7)}`})`
  await sql`insert into flow_responses (workspace_id, id, flow_token, flow_token_digest, status, client_id, expires_at)
    values (${workspaceId}, ${newId('flowResponse')}, ${token}, ${sha256(token)}, 'SENT', ${clientId}, ${soon()})`
}

function opening(more: Partial<OpenedExchange> = {}): OpenedExchange {
  const createdAt = more.createdAt ?? secondAgo()
  const token = more.flowToken ?? flowToken
  return {
    workspaceId,
    id: newUuid(),
    createdAt,
    wabaId: '1',
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: 'FIRST',
    flowToken: token,
    flowId: null,
    clientId: null,
    webhookId: null,
    envelope: Buffer.from('{"an":"envelope"}'),
    flowResponse: firstSeen(newId('flowResponse'), token, null, createdAt),
    ...more,
  }
}

function closing({ id, clientId: client }: OpenedExchange, more: Partial<ClosedExchange> = {}): ClosedExchange {
  return {
    ...{ workspaceId, id, clientId: client, outcome: 'replied', reason: null, durationMs: 12.5, webhookMs: 10 },
    timings: { verify: 1, decrypt: 1, enrich: 1, webhook: 10, encrypt: 1, total: 12.5 },
    ...{ answer: Buffer.from('{"screen":"NEXT"}'), answerScreen: 'NEXT', attempt: null, completed: null },
    ...more,
  }
}

const expunge = () => expungeClient(database, workspaceId, clientId)
/** How many rows of those who were expunged since then are found. Throws what failed. */
async function againSince(since: Date, of: Queryable = database): Promise<number> {
  const { rows, failures } = await expungeAgain(of, since, new AbortController().signal)
  for (const failure of failures.values()) throw failure
  return rows
}
const hourAgo = () => new Date(Date.now() - 3_600_000)
const again = () => againSince(hourAgo())
const exchanges = () => sql`select * from exchanges where workspace_id = ${workspaceId} order by id`
const flowResponses = () => sql`select * from flow_responses where workspace_id = ${workspaceId}`
const emptied = { envelope: null, answer: null, screen: null, answer_screen: null, flow_token: null, client_id: null }

describe('rows that were on their way when their person was expunged', () => {
  it('are emptied, and no flow response comes back', async () => {
    await expunge()
    // With the client, as read before the expunge, and without, as while the database is slow.
    await writeExchanges(
      sql,
      { opened: [opening({ clientId }), opening({ clientId: null })], closed: [], deliveries: [] },
      async () => {},
    )
    const deliveryIds = [
      await insertDelivery(sql, workspaceId, { at: secondAgo(), clientId, status: 'pending' }),
      await insertDelivery(sql, workspaceId, { at: secondAgo(), flowToken, status: 'failed' }),
    ]
    for (const deliveryId of deliveryIds) await insertAttempt(sql, workspaceId, { deliveryId })
    expect(await flowResponses()).toHaveLength(1)
    expect(await again()).toBe(5)
    expect(await exchanges()).toMatchObject([emptied, emptied])
    expect(await flowResponses()).toEqual([])
    expect(
      await sql`select distinct status, due_at, envelope, resource_id, client_id, flow_token_digest from deliveries
      where workspace_id = ${workspaceId}`,
    ).toEqual([
      { status: 'expunged', due_at: null, envelope: null, resource_id: null, client_id: null, flow_token_digest: null },
    ])
    expect(
      await sql`select distinct response_headers::text, response_body from attempts where workspace_id = ${workspaceId}`,
    ).toEqual([{ response_headers: null, response_body: null }])
    expect(await again()).toBe(0)
  })

  it('get no answer either: an exchange that was emptied while it was open', async () => {
    const opened = [opening({ clientId }), opening()]
    await writeExchanges(sql, { opened, closed: [], deliveries: [] }, async () => {})
    await expunge()
    await writeExchanges(sql, { opened: [], closed: opened.map((row) => closing(row)), deliveries: [] }, async () => {})
    expect(await exchanges()).toMatchObject([
      { ...emptied, outcome: 'replied', duration_ms: 12.5 },
      { ...emptied, outcome: 'replied' },
    ])
  })

  it('are those: what others did, and what was made of the flow token later, stays', async () => {
    await expunge()
    const other = newWorkspaceId()
    const kept = [
      await insertExchange(sql, other, { at: secondAgo(), flowToken }),
      await insertExchange(sql, workspaceId, { at: secondAgo(), flowToken: 'other', clientId: newId('client') }),
      await insertExchange(sql, workspaceId, { at: soon(), flowToken }),
      // The tenant gave the token to somebody else at once.
      await insertExchange(sql, workspaceId, { flowToken, clientId: newId('client') }),
    ]
    clientId = newId('client')
    await register(flowToken)
    expect(await again()).toBe(0)
    const left = await sql`select id from exchanges where envelope is not null and id = any(${kept}::text[]::uuid[])`
    expect(left).toHaveLength(4)
    expect(await flowResponses()).toHaveLength(1)
  })

  it('are those of the longest exchange after it too: it knew the person before', async () => {
    const longestMs = 8000
    await expunge()
    const createdAt = new Date(Date.now() + longestMs)
    await insertExchange(sql, workspaceId, { at: createdAt, flowToken })
    expect(await again()).toBe(1)
    await replayExchanges(sql, { opened: [opening({ createdAt })], closed: [], deliveries: [] }, async () => {})
    expect(await exchanges()).toMatchObject([emptied, emptied])
    expect(await flowResponses()).toEqual([])
  })

  it('are looked for as long as it was said, and no longer', async () => {
    await expunge()
    await insertExchange(sql, workspaceId, { at: secondAgo(), flowToken })
    expect(await againSince(soon())).toBe(0)
    expect(await again()).toBe(1)
  })

  it('are looked for past a workspace that fails', async () => {
    const expunged = [workspaceId, newWorkspaceId()]
    for (const id of expunged) {
      await sql`insert into expunges values (${id}, ${sha256(flowToken)}, 'flow_token', now())`
      await insertExchange(sql, id, { at: secondAgo(), flowToken })
    }
    // The latest are looked for first.
    await sql`update expunges set expunged_at = now() where workspace_id = ${workspaceId}`
    await sql.unsafe(`
      create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
      create trigger refuse before update on exchanges for each row when (old.workspace_id = '${workspaceId}') execute function refuse()`)
    await expect(again()).rejects.toMatchObject({ sqlState: 'P0001' })
    await sql`drop trigger refuse on exchanges`
    const left =
      await sql`select workspace_id from exchanges where workspace_id = any(${expunged}) and envelope is not null`
    expect(left).toEqual([{ workspace_id: workspaceId }])
    expect(await again()).toBe(1)
  })

  it('are looked for in an hour at a time, however long nobody did', async () => {
    await expunge()
    await sql`insert into expunges values (${workspaceId}, sha256('other'), 'client', now() - interval '50 hours')`
    await sql`insert into expunges values (${workspaceId}, sha256(${clientId}), 'client', now() - interval '2 hours')
      on conflict (workspace_id, kind, digest) do update set expunged_at = excluded.expunged_at`
    await insertExchange(sql, workspaceId, { at: new Date(Date.now() - 2 * 3_600_000), clientId })
    // Between the two, and so nobody's who was expunged.
    await insertExchange(sql, workspaceId, { at: new Date(Date.now() - 25 * 3_600_000), clientId })
    expect(await againSince(new Date(Date.now() - 72 * 3_600_000))).toBe(1)
  })

  it('are looked for after every expunge, however many there were since', async () => {
    await expunge()
    await insertExchange(sql, workspaceId, { at: secondAgo(), flowToken })
    await insertExchange(sql, workspaceId, { at: secondAgo(), clientId })
    await sql`insert into expunges (workspace_id, kind, digest, expunged_at)
      select ${workspaceId}, (array['client', 'flow_token'])[1 + i % 2], sha256(i::text::bytea), now() + i % 3 * interval '1 ms'
      from generate_series(1, 10001) i`
    expect(await again()).toBe(2)
  })

  it('are looked for among those alone that can have been, for all people of a workspace at once', async () => {
    for (let people = 0; people < 5; people++) {
      await expunge()
      clientId = newId('client')
      await register(`token-${people}`)
    }
    const gone = clientId
    await expunge()
    // An exchange that began while the expunge was under way, and one so young that nobody can have known the client: it is not read.
    const [during, later] = [secondAgo().getTime() + 60_000, Date.now() + 600_000]
    await insertExchange(sql, workspaceId, { at: new Date(during), clientId: gone })
    const keptId = await insertExchange(sql, workspaceId, { at: new Date(later), clientId: gone })
    await insertExchange(sql, workspaceId, { at: secondAgo(), flowToken: 'token-3' })
    const tap = await tapStatements(opened.made.settings.url)
    const tapped = openDatabase({ ...opened.made.settings, url: tap.url })
    expect(await againSince(hourAgo(), tapped)).toBe(2)
    await tapped.close()
    await tap.close()
    expect(await sql`select id from exchanges where workspace_id = ${workspaceId} and envelope is not null`).toEqual([
      { id: keptId },
    ])
    const ofWorkspace = tap.statements.filter(({ values }) => values.includes(workspaceId))
    expect(
      ofWorkspace.map(({ text }) => text.match(/(update|delete from) (exchanges|deliveries|flow_responses)/)?.[0]),
    ).toEqual([
      ...['delete from flow_responses', 'update exchanges', 'update deliveries'],
      ...['update exchanges', 'update deliveries'],
    ])
    expect(tap.statements.map(({ text }) => text)).toContain('set local statement_timeout = 30000')
    // What Citus needs.
    for (const statement of ofWorkspace) expect(await shardFault(sql, statement)).toBeNull()
  })
})

describe('rows out of a spool', () => {
  it('without a client are emptied by the flow token of somebody who was expunged since', async () => {
    const [gone, other] = [opening(), opening({ flowToken: 'other' })]
    await expunge()
    await replayExchanges(sql, { opened: [gone, other], closed: [], deliveries: [] }, async () => {})
    const completed = gone.flowResponse && {
      ...gone.flowResponse,
      status: 'COMPLETED' as const,
      completedAt: secondAgo(),
    }
    // Its closing comes in another group.
    await replayExchanges(
      sql,
      {
        opened: [],
        closed: [closing(gone, { completed }), closing(other)],
        deliveries: [],
      },
      async () => {},
    )
    expect(await exchanges()).toMatchObject([
      { ...emptied, outcome: 'replied' },
      { flow_token: 'other', answer: Buffer.from('{"screen":"NEXT"}') },
    ])
    expect(await flowResponses()).toMatchObject([{ flow_token: 'other' }])
  })

  it('stay where they were made after the expunge, or in another workspace', async () => {
    await expunge()
    const later = opening({ createdAt: soon() })
    const other = newWorkspaceId()
    await sql`insert into workspaces (id, name) values (${other}, 'W')`
    await replayExchanges(
      sql,
      { opened: [later, opening({ workspaceId: other })], closed: [], deliveries: [] },
      async () => {},
    )
    expect(await exchanges()).toMatchObject([{ flow_token: flowToken, screen: 'FIRST' }])
    expect(await sql`select flow_token from exchanges where workspace_id = ${other}`).toEqual([
      { flow_token: flowToken },
    ])
  })
})
