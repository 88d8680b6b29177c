import fc from 'fast-check'
import type postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { growth, leastMs } from '../../../src/domain/histogram.ts'
import { newUuid, newWorkspaceId, type WorkspaceId } from '../../../src/domain/ids.ts'
import type { Outcome } from '../../../src/domain/outcome.ts'
import type { Database } from '../../../src/storage/database.ts'
import type { ClosedExchange, OpenedExchange } from '../../../src/storage/exchange-record.ts'
import { closeInterrupted, replayExchanges, writeExchanges } from '../../../src/storage/exchanges.ts'
import { readStats, type Stats, type StatsQuery } from '../../../src/storage/stats.ts'
import { deleteStatsBefore, rollUp } from '../../../src/storage/stats-roll-up.ts'
import { deleteWorkspace } from '../../../src/storage/workspace-deletion.ts'
import { waitForLocks } from '../../support/locks.ts'
import { type OpenedDatabase, openTestDatabase } from '../../support/opened-database.ts'

const [minuteMs, hourMs, dayMs] = [60_000, 3_600_000, 86_400_000]
/** Where the tests' rows begin: a day, some days ago. */
const begin = Math.floor(Date.now() / dayMs - 10) * dayMs

let opened: OpenedDatabase
let database: Database
let sql: postgres.Sql
let workspaceId: WorkspaceId

beforeAll(async () => {
  opened = await openTestDatabase()
  ;({ database, sql } = opened)
})
beforeEach(async () => {
  workspaceId = await makeWorkspace()
  await setFrontier(begin)
})
afterAll(async () => {
  await opened.close()
})

async function makeWorkspace(): Promise<WorkspaceId> {
  const id = newWorkspaceId()
  await sql`insert into workspaces (id, name) values (${id}, 'W')`
  return id
}

const setFrontier = (ms: number) => sql`update exchange_stats_frontier set rolled_up_until = ${new Date(ms)}`

/** An exchange as a test has it. */
interface Made {
  /** ms after `begin`. */
  readonly at: number
  readonly outcome: Outcome
  readonly flowId: string | null
  readonly webhookId: string | null
  readonly durationMs: number
  readonly webhookMs: number | null
  readonly lateReplyMs: number | null
}

const simple: Made = {
  at: 0,
  outcome: 'replied',
  flowId: null,
  webhookId: 'wh_1',
  durationMs: 100,
  webhookMs: 90,
  lateReplyMs: null,
}

function uuidAt(unixMs: number): string {
  const hex = unixMs.toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}${newUuid().slice(13)}`
}

function groupOf(workspace: WorkspaceId, rows: readonly Made[]) {
  const named = rows.map((row) => ({ ...row, workspaceId: workspace, id: uuidAt(begin + row.at) }))
  const opened = named.map((row): OpenedExchange => {
    const nothing = { event: null, action: null, screen: null, flowToken: null, clientId: null, envelope: null }
    return { ...row, ...nothing, createdAt: new Date(begin + row.at), wabaId: '1', flowResponse: null }
  })
  const closed = named.map((row): ClosedExchange => {
    const nothing = { answer: null, answerScreen: null, attempt: null, completed: null, reason: null, clientId: null }
    const timings = { verify: 0, decrypt: 0, enrich: 0, webhook: 0, encrypt: 0, total: row.durationMs }
    return { ...row, ...nothing, timings }
  })
  const late = named.flatMap(({ id, lateReplyMs }) =>
    lateReplyMs === null ? [] : [{ workspaceId: workspace, id, lateReplyMs }],
  )
  return { opened, closed, late, deliveries: [] }
}

const nobody = async () => {}
const write = (rows: readonly Made[], workspace = workspaceId) => writeExchanges(sql, groupOf(workspace, rows), nobody)

/** Passes as of a time after `begin` until nothing is left to do. */
async function rollUpAt(ms: number): Promise<void> {
  while ((await rollUp(sql, new Date(begin + ms))).isBehind);
}

const read = (from: number, to: number, more: Partial<StatsQuery> = {}, workspace = workspaceId) =>
  readStats(database, workspace, { since: new Date(begin + from), until: new Date(begin + to), ...more })

const bucketOf = (ms: number) => Math.floor(Math.log(Math.max(ms, leastMs) / leastMs) / Math.log(growth))

/** Sorted lines of all that statistics say, so that two of them can be compared. */
function linesOf({ totals, webhooks }: Pick<Stats, 'totals' | 'webhooks'>): string[] {
  const lines = [...totals].map(([bucket, n]) => `total ${bucket}: ${n}`)
  for (const { webhookId, counts, lateReplies, times } of webhooks) {
    for (const [outcome, n] of counts) lines.push(`${webhookId} ${outcome}: ${n}`)
    for (const [bucket, n] of times) lines.push(`${webhookId} ${bucket}: ${n}`)
    if (lateReplies > 0) lines.push(`${webhookId} late: ${lateReplies}`)
  }
  return lines.sort()
}

/** The same, row by row. */
function plainly(rows: readonly Made[], from: number, to: number, flowId?: string): string[] {
  const counts = new Map<string, number>()
  const count = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1)
  for (const row of rows) {
    if (row.at < from || row.at >= to || (flowId !== undefined && row.flowId !== flowId)) continue
    const webhookId = row.webhookId ?? ''
    count(`${webhookId} ${row.outcome}`)
    count(`total ${bucketOf(row.durationMs)}`)
    const webhookMs = row.lateReplyMs ?? row.webhookMs
    if (webhookMs !== null) count(`${webhookId} ${bucketOf(webhookMs)}`)
    if (row.lateReplyMs !== null) count(`${webhookId} late`)
  }
  return [...counts].map(([name, n]) => `${name}: ${n}`).sort()
}

const spanMs = 3 * dayMs
const made = fc.record({
  // Often together, often at the edge of a span.
  at: fc.oneof(
    fc.nat({ max: spanMs - 1 }),
    fc.nat({ max: spanMs / (5 * minuteMs) - 1 }).map((five) => five * 5 * minuteMs),
    fc.nat({ max: 71 }).map((hour) => hour * hourMs + hourMs - 1),
  ),
  outcome: fc.constantFrom<Outcome>('replied', 'timeout', 'answered_locally', 'bad_status'),
  flowId: fc.constantFrom(null, 'flow_1', 'flow_2'),
  webhookId: fc.constantFrom(null, 'wh_1', 'wh_2'),
  durationMs: fc.integer({ min: 1, max: 9000 }),
  webhookMs: fc.option(fc.integer({ min: 1, max: 9000 })),
  lateReplyMs: fc.option(fc.integer({ min: 1, max: 14_000 })),
})
const time = fc.nat({ max: spanMs / (5 * minuteMs) }).map((five) => five * 5 * minuteMs)

describe('statistics', () => {
  it('are those of the rows, however they were rolled up, and whatever came late', async () => {
    const rows = fc.array(made, { maxLength: 40 })
    const plan = fc.record({ before: rows, after: rows, foreign: rows, first: time, second: time, a: time, b: time })
    const flowId = fc.constantFrom(undefined, 'flow_1')
    await fc.assert(
      fc.asyncProperty(plan, flowId, async ({ before, after, foreign, first, second, a, b }, flow) => {
        const [mine, other] = [await makeWorkspace(), await makeWorkspace()]
        await setFrontier(begin)
        await write(before, mine)
        await write(foreign, other)
        await rollUpAt(first)
        await replayExchanges(sql, groupOf(mine, after), nobody)
        await rollUpAt(Math.max(first, second))
        const [from, to] = [Math.min(a, b), Math.max(a, b)]
        const stats = await read(from, to, { flowId: flow }, mine)
        const until = stats.until.getTime() - begin
        expect(linesOf(stats)).toEqual(plainly([...before, ...after], from, until, flow))
        const settled = Math.max(0, Math.floor((Math.max(first, second) - 90_000) / (5 * minuteMs)) * 5 * minuteMs)
        expect(until).toBe(Math.min(to, Math.max(from, settled + hourMs)))
      }),
      { numRuns: 40 },
    )
  })

  it('count a late reply once it is recorded, also where its five minutes, hour and day were rolled up', async () => {
    await write([{ ...simple, outcome: 'timeout', webhookMs: 700 }])
    await rollUpAt(2 * dayMs)
    const [row] = await sql`select id from exchanges where workspace_id = ${workspaceId}`
    await writeExchanges(
      sql,
      { opened: [], closed: [], late: [{ workspaceId, id: row?.id, lateReplyMs: 830 }], deliveries: [] },
      nobody,
    )
    await rollUpAt(2 * dayMs)
    for (const to of [5 * minuteMs, hourMs, dayMs]) {
      const lines = [`wh_1 ${bucketOf(830)}: 1`, 'wh_1 late: 1', 'wh_1 timeout: 1', `total ${bucketOf(100)}: 1`]
      expect(linesOf(await read(0, to))).toEqual(lines.sort())
    }
  })

  it('count an exchange whose process died once it is closed', async () => {
    const { opened } = groupOf(workspaceId, [simple])
    await writeExchanges(sql, { opened, closed: [], deliveries: [] }, nobody)
    await rollUpAt(dayMs)
    expect(linesOf(await read(0, dayMs))).toEqual([])
    expect(await closeInterrupted(sql, new Date())).toBe(1)
    expect(await closeInterrupted(sql, new Date())).toBe(0)
    await rollUpAt(dayMs)
    expect(linesOf(await read(0, dayMs))).toEqual(['wh_1 internal_error: 1'])
  })

  it('read no more than an hour of rows where nothing rolls them up, and say how far they go', async () => {
    await write([simple, { ...simple, at: hourMs - 1 }, { ...simple, at: hourMs }])
    const stats = await read(0, dayMs)
    expect(stats.until).toEqual(new Date(begin + hourMs))
    expect(linesOf(stats)).toContain('wh_1 replied: 2')
    expect((await read(2 * hourMs, dayMs)).until).toEqual(new Date(begin + 2 * hourMs))
  })
})

describe('a roll-up', () => {
  it('by several processes at once is that of one', async () => {
    const rows = Array.from({ length: 50 }, (_, n) => ({ ...simple, at: n * 20 * minuteMs }))
    await write(rows)
    await Promise.all(Array.from({ length: 4 }, () => rollUpAt(dayMs)))
    expect(linesOf(await read(0, dayMs))).toEqual(plainly(rows, 0, dayMs))
  })

  it('leaves alone what is younger than 90 s, and never goes back', async () => {
    expect(await rollUp(sql, new Date(begin + 5 * minuteMs + 89_999))).toEqual({
      rolledUpUntil: new Date(begin),
      isBehind: false,
    })
    const rolledUpUntil = new Date(begin + 5 * minuteMs)
    expect(await rollUp(sql, new Date(begin + 5 * minuteMs + 90_000))).toEqual({ rolledUpUntil, isBehind: false })
    expect(await rollUp(sql, new Date(begin - dayMs))).toEqual({ rolledUpUntil, isBehind: false })
  })

  it('holds up no row that is written meanwhile', async () => {
    await write([simple])
    const written = await sql.begin(async (tx) => {
      await tx`select from exchange_stats_frontier for update`
      await tx`delete from exchange_stats_stale`
      return Promise.race([
        write([simple]).then(() => true),
        new Promise((resolve) => setTimeout(resolve, 2000, false)),
      ])
    })
    expect(written).toBe(true)
    await rollUpAt(dayMs)
    expect(linesOf(await read(0, dayMs))).toContain('wh_1 replied: 2')
  })

  it('goes on beside the deletion of a workspace, which leaves none of its statistics', async () => {
    await write([simple])
    await rollUpAt(dayMs)
    for (const at of [0, 5 * minuteMs]) {
      await sql`insert into exchange_stats_stale (workspace_id, starts_at) values (${workspaceId}, ${new Date(begin + at)})`
    }
    const both = await sql.begin(async (tx) => {
      // The roll-up has taken the one before it then.
      await tx`select from exchange_stats_stale where ctid = (select max(ctid) from exchange_stats_stale) for update`
      const rolled = rollUp(sql, new Date(begin + dayMs))
      await waitForLocks(sql, 1)
      const deleted = deleteWorkspace(database, workspaceId)
      await waitForLocks(sql, 2)
      return { done: Promise.allSettled([rolled, deleted]) }
    })
    expect((await both.done).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    expect(await sql`select from exchange_stats where workspace_id = ${workspaceId}`).toHaveLength(0)
  })

  it('is not asked again for rows that are written in time', async () => {
    await sql`delete from exchange_stats_stale`
    await write([{ ...simple, at: Date.now() - begin, lateReplyMs: 830 }])
    expect(await sql`select from exchange_stats_stale`).toHaveLength(0)
    await write([{ ...simple, at: Date.now() - begin - 60_000 }])
    expect(await sql`select from exchange_stats_stale`).toHaveLength(1)
  })

  it('is forgotten with age, the finer spans of a day first', async () => {
    await write([simple, { ...simple, at: dayMs - 1 }, { ...simple, at: dayMs }])
    await rollUpAt(3 * dayMs)
    const left = async (before: number) => {
      expect(await deleteStatsBefore(sql, new Date(begin + before), new AbortController().signal)).toBeGreaterThan(0)
      const rows = await sql`
        select minutes, starts_at from exchange_stats where workspace_id = ${workspaceId} order by starts_at, minutes`
      return rows.map((row) => [row.minutes, row.starts_at.getTime() - begin])
    }
    const next = [5, 60, 1440].map((minutes) => [minutes, dayMs])
    const lastOfDay = [
      [1440, 0],
      [60, 23 * hourMs],
      [5, dayMs - 5 * minuteMs],
    ]
    expect(await left(dayMs - minuteMs)).toEqual([...lastOfDay, ...next])
    expect(linesOf(await read(0, dayMs))).toContain('wh_1 replied: 2')
    expect(await left(dayMs)).toEqual(next)
  })

  it('is forgotten in steps that hold few rows, as long as it may', async () => {
    await sql`
      insert into exchange_stats select ${workspaceId}, 5, ${new Date(begin)}::timestamptz - i * interval '5 minutes', '', '',
        'replied', 1, 0, '{}', '{}', '{}', '{}' from generate_series(1, 2500) i`
    await sql.unsafe(`
      create table steps (n int not null);
      create function note_step() returns trigger language plpgsql as $$
      begin insert into steps select count(*) from gone; return null; end $$;
      create trigger note_step after delete on exchange_stats referencing old table as gone
        for each statement execute function note_step()`)
    try {
      expect(await deleteStatsBefore(sql, new Date(begin), AbortSignal.abort())).toBe(0)
      expect(await deleteStatsBefore(sql, new Date(begin), new AbortController().signal)).toBe(2500)
      expect((await sql`select n from steps`).map(({ n }) => n)).toEqual([1000, 1000, 500])
    } finally {
      await sql.unsafe('drop trigger note_step on exchange_stats; drop function note_step; drop table steps')
    }
  })
})
