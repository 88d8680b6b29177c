import type postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { listDeliveries } from '../../../src/storage/delivery-log.ts'
import { type ExchangeFilter, listExchanges } from '../../../src/storage/exchange-log.ts'
import { insertDelivery, insertExchange } from '../../support/log-rows.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'
import { tapStatements } from '../../support/statement-tap.ts'

let opened: OpenedDatabase
let database: Database
let sql: postgres.Sql
let workspaceId = newWorkspaceId()

beforeAll(async () => {
  opened = await openTestDatabase()
  ;({ database, sql } = opened)
})
afterAll(async () => {
  await opened.close()
})
beforeEach(() => {
  workspaceId = newWorkspaceId()
})

/** Steps of 4, 8 and 16 rows, and no time for a second one. */
const hurried = { firstRows: 4, mostRows: 16, searchMs: 0 }
const patient = { ...hurried, searchMs: 10_000 }
const now = Date.now()
const minutesAgo = (minutes: number) => new Date(now - minutes * 60_000)

/** So many rows that are not looked for, the newest first, and one that is where `at` says; ids of those that are. */
async function insert(rows: number, ...at: number[]): Promise<string[]> {
  const ids: string[] = []
  for (let n = 0; n < rows; n++) {
    const outcome = at.includes(n) ? 'timeout' : 'replied'
    const id = await insertExchange(sql, workspaceId, { at: minutesAgo(n), outcome })
    if (outcome === 'timeout') ids.push(id)
  }
  return ids
}

/** Every page of a list, as ids. */
async function pagesOf(filter: ExchangeFilter, bounds: typeof hurried, limit = 3): Promise<string[][]> {
  const pages: string[][] = []
  let before: string | null = null
  do {
    const { rows, stoppedAt } = await listExchanges(database, workspaceId, { limit, before }, filter, bounds)
    pages.push(rows.map(({ id }) => id))
    before = rows.length === limit ? (rows.at(-1)?.id ?? null) : stoppedAt
  } while (before !== null)
  return pages
}

describe('a search for few rows among many', () => {
  it('stops where its time is up, and goes on there', async () => {
    const [first, second, third] = await insert(18, 5, 6, 16)
    expect(await pagesOf({ outcome: 'timeout' }, hurried)).toEqual([[], [first, second], [], [], [third]])
    expect(await pagesOf({ outcome: 'timeout' }, patient)).toEqual([[first, second, third], []])
    expect(await pagesOf({ outcome: 'bad_status' }, patient)).toEqual([[]])
  })

  it('begins at `until` and ends at `since`', async () => {
    const ids = await insert(18, 2, 9, 16)
    // By their ids alone, which may be a minute off: between two rows, or a millisecond would decide whether one is read.
    const span = { since: minutesAgo(11.5), until: minutesAgo(6.5) }
    expect(await pagesOf({ outcome: 'timeout', ...span }, hurried)).toEqual([[ids[1]], []])
  })

  it('reads as many rows as a step may, and no more', async () => {
    await insert(18)
    const tap = await tapStatements(opened.made.url)
    const tapped = openDatabase({ ...opened.made.settings, url: tap.url })
    await listExchanges(tapped, workspaceId, { limit: 3, before: null }, { outcome: 'timeout' }, hurried)
    const texts = tap.statements.map(({ text }) => text)
    await tapped.close()
    await tap.close()
    const [row] = await sql`
      select id from exchanges where workspace_id = ${workspaceId} order by id desc offset 3 limit 1`
    expect(texts.filter((text) => text.includes('from "exchanges"'))).toHaveLength(2)
    expect(tap.statements.at(-2)?.text).toMatch(/"exchanges"\."id" >= \$\d/)
    expect(tap.statements.at(-2)?.values).toContain(row?.id)
  })

  it('is one statement where an index leads to them', async () => {
    const eventId = newUuid()
    const deliveryId = await insertDelivery(sql, workspaceId, { status: 'pending', webhookId: 'wh_1' })
    await sql`update deliveries set event_id = ${eventId} where id = ${deliveryId}`
    const tap = await tapStatements(opened.made.url)
    const tapped = openDatabase({ ...opened.made.settings, url: tap.url })
    const page = { limit: 3, before: null }
    for (const filter of [{}, { eventId }, { webhookId: 'wh_1', status: 'pending' as const }]) {
      const { rows, stoppedAt } = await listDeliveries(tapped, workspaceId, page, filter, hurried)
      expect([rows.map(({ id }) => id), stoppedAt]).toEqual([[deliveryId], null])
    }
    await tapped.close()
    await tap.close()
    const statements = tap.statements.filter(({ text }) => text.includes('from "deliveries"'))
    expect(statements).toHaveLength(3)
    // An event's are looked for at its time alone.
    expect(statements[1]?.text).toMatch(/"id" >= \$\d+ and "deliveries"\."id" < \$\d+/)
  })
})

it('the exchanges of a flow token are read in the order of its index, and no more of them than the page', async () => {
  const tap = await tapStatements(opened.made.url)
  const tapped = openDatabase({ ...opened.made.settings, url: tap.url })
  await listExchanges(tapped, workspaceId, { limit: 3, before: null }, { flowToken: 'x' })
  await tapped.close()
  await tap.close()
  const { text = '', values = [] } =
    tap.statements.find((statement) => statement.text.includes('from "exchanges"')) ?? {}
  const plan = await sql.begin(async (tx) => {
    await tx`set local enable_seqscan = off`
    await tx`set local enable_sort = off`
    return tx.unsafe(`explain ${text}`, [...values])
  })
  const lines = plan.map((row) => row['QUERY PLAN']).join('\n')
  expect(lines).toMatch(/Index Scan using exchanges_\w+_flow_token_digest_id_idx/)
  expect(lines).not.toMatch(/\bSort {2}\(/)
})
