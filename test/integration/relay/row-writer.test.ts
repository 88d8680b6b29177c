import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { newUuid, newWorkspaceId } from '../../../src/domain/ids.ts'
import { createLog } from '../../../src/ops/logger.ts'
import type { Row } from '../../../src/relay/row.ts'
import { RowWriter, type RowWriterParts } from '../../../src/relay/row-writer.ts'
import type { Database } from '../../../src/storage/database.ts'
import { waitForLocks } from '../../support/locks.ts'
import { insertExchange } from '../../support/log-rows.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'

let opened: OpenedDatabase
let renewals = 0

beforeAll(async () => {
  opened = await openTestDatabase()
  // The driver's timers connect, and stand still below.
  await opened.database.warm()
  await Promise.all([1, 2, 3].map((n) => opened.sql`select ${n}`))
})
beforeEach(() => {
  renewals = 0
})
afterAll(() => opened.close())

function writerOn(database: Pick<Database, 'sql'>): RowWriter {
  const attempts = { hold: () => ({ ids: new Set(), start() {}, release() {} }), wake() {} }
  const parts = {
    database: { ...database, backend: 'postgres', renew: () => void renewals++ },
    attempts,
    log: createLog('silent'),
  }
  return new RowWriter(parts as unknown as RowWriterParts)
}

it('a group that waits for somebody’s rows is not written, and connections are not doubted that answer', async () => {
  const { database, sql } = opened
  const workspaceId = newWorkspaceId()
  const id = newUuid()
  await insertExchange(sql, workspaceId, { id })
  const row: Row = { kind: 'late', row: { workspaceId, id, lateReplyMs: 900 }, deliveries: [] }
  const writer = writerOn({ sql: database.sql })
  await sql.begin(async (tx) => {
    await tx`select 1 from exchanges where id = ${id} for update`
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const written = writer.write([row], false)
    await waitForLocks(sql, 1)
    // As long as one operation may take.
    vi.advanceTimersByTime(5000)
    vi.useRealTimers()
    expect(await written).toBe(false)
  })
  expect([writer.away, renewals]).toEqual([true, 0])
})

it.each([
  ['timeout', 1],
  ['CONNECTION_CLOSED', 1],
  ['57P01', 1],
  ['40P01', 0],
  ['55P03', 0],
])('%s, and no word after it: pools are renewed %d times', async (code, times) => {
  const failing = () => Promise.reject(Object.assign(new Error(code), { code }))
  const sql = Object.assign(failing, { begin: failing, options: { prepare: true } })
  const late: Row = {
    kind: 'late',
    row: { workspaceId: newWorkspaceId(), id: newUuid(), lateReplyMs: 1 },
    deliveries: [],
  }
  expect(await writerOn({ sql: sql as never }).write([late], false)).toBe(false)
  expect(renewals).toBe(times)
})
