import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readMasterKeys } from '../../../src/crypto/sealed-secret.ts'
import { newWorkspaceId } from '../../../src/domain/ids.ts'
import { WebhookBook } from '../../../src/events/webhook-book.ts'
import { Unsealer } from '../../../src/events/webhook-signing.ts'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

let testDatabase: TestDatabase
let database: Database
let sql: postgres.Sql
const workspaceId = newWorkspaceId()

beforeAll(async () => {
  testDatabase = await createTestDatabase()
  database = openDatabase(testDatabase.settings)
  sql = postgres(testDatabase.url, { max: 1 })
  await sql`insert into workspaces (id, name) values (${workspaceId}, 'W')`
})
afterAll(async () => {
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

describe('the webhooks of deliveries', () => {
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
