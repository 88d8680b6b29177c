import { serialize } from 'node:v8'
import fc from 'fast-check'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { newUuid, type WorkspaceId } from '../../../src/domain/ids.ts'
import { Recorder } from '../../../src/relay/recorder.ts'
import { decodeRow, encodeRow, partsOf, type Row, weightOf } from '../../../src/relay/row.ts'
import type { NewDelivery } from '../../../src/storage/deliveries.ts'
import type { ClosedExchange, OpenedExchange } from '../../../src/storage/exchange-record.ts'
import { eventually } from '../../support/eventually.ts'

const workspaceId = 'ws_1' as WorkspaceId

/** A database that does with each write what it is told; once nothing is left to do, it takes rows. */
class ScriptedDatabase {
  readonly written: Row[] = []
  readonly groups: string[][] = []
  /** What its heaviest group weighed. */
  heaviest = 0
  away = false
  readonly #script: Mood[]
  constructor(script: readonly Mood[]) {
    this.#script = [...script]
  }

  async write(rows: readonly Row[]): Promise<boolean> {
    const mood = this.#script.shift() ?? 'takes'
    this.groups.push(names(rows))
    const weight = rows.reduce((bytes, row) => bytes + weightOf(row).written, 0)
    this.heaviest = Math.max(this.heaviest, weight)
    if (mood === 'hangs') await new Promise(() => undefined)
    if (mood === 'slow' || mood === 'slow_then_gone') await new Promise((resolve) => setTimeout(resolve, 45))
    else await new Promise(setImmediate)
    this.away = mood === 'gone' || mood === 'slow_then_gone'
    // Written all the same: the acknowledgement was lost.
    if (!this.away || mood === 'slow_then_gone') this.written.push(...rows)
    return !this.away
  }
}
type Mood = 'takes' | 'gone' | 'slow' | 'slow_then_gone' | 'hangs'

/** A disk that fails when it is told. */
class ScriptedSpool {
  readonly content: Uint8Array[] = []
  bytes = 0
  readonly everSpooled: Row[] = []
  isClosed = false
  isAppending = false
  /** The disk takes nothing before. */
  gate: Promise<void> | null = null
  readonly #fails: boolean[]
  #given = 0
  constructor(fails: readonly boolean[] = []) {
    this.#fails = [...fails]
  }

  get rows(): number {
    return this.content.length
  }
  open = async () => undefined
  adopt = async () => []
  async append(rows: readonly Uint8Array[]): Promise<void> {
    await new Promise(setImmediate)
    this.isAppending = true
    await this.gate
    if (this.#fails.shift()) throw new Error('disk full')
    this.content.push(...rows)
    this.everSpooled.push(...rows.map(decodeRow).filter((row) => row !== null))
  }
  async first(limit: number) {
    await new Promise(setImmediate)
    this.#given = Math.min(limit, this.content.length)
    return { rows: this.content.slice(0, this.#given), unreadable: 0 }
  }
  async removeFirst(): Promise<void> {
    await new Promise(setImmediate)
    this.content.splice(0, this.#given)
  }
  async close(): Promise<void> {
    this.isClosed = true
  }
}

function recorderOf(script: readonly Mood[], fails: readonly boolean[] = []) {
  const database = new ScriptedDatabase(script)
  const spool = new ScriptedSpool(fails)
  let lost = 0
  const rowsLost = (count: number) => {
    lost += count
  }
  const metrics = { rowsWaiting: () => {}, rowsSpooled: () => {}, rowsLost }
  const recorder = new Recorder({ writer: database, spool, log: pino({ enabled: false }), metrics })
  return { database, spool, recorder, lost: () => lost }
}

const opened = (flowToken: string) =>
  ({ workspaceId, id: newUuid(), flowToken, envelope: null }) as unknown as OpenedExchange
const closed = ({ id }: OpenedExchange) => ({ workspaceId, id, answer: null }) as unknown as ClosedExchange
const names = (rows: readonly Row[]) => rows.map(({ kind, row }) => `${kind} ${row.id}`)

it('a row of each kind comes back from the disk as it was; what is no row does not', () => {
  const row = { ...opened('a'), createdAt: new Date(), envelope: Buffer.from('{}') }
  const told = {
    workspaceId,
    id: newUuid(),
    envelope: Buffer.from('{}'),
    createdAt: new Date(),
  } as unknown as NewDelivery
  const rows: Row[] = [
    { kind: 'opened', row, deliveries: [told] },
    { kind: 'told', row: told, deliveries: [told] },
    { kind: 'closed', row: closed(row), deliveries: [] },
    { kind: 'late', row: { workspaceId, id: row.id, lateReplyMs: 830.25 }, deliveries: [] },
  ]
  expect(rows.map((it) => decodeRow(encodeRow(it)))).toEqual(rows)
  // A release without deliveries wrote this.
  const before = { format: 1, kind: 'opened', row }
  expect(decodeRow(serialize(before))).toEqual({ kind: 'opened', row, deliveries: [] })
  expect(decodeRow(encodeRow({ kind: 'other', row } as unknown as Row))).toBeNull()
})

const megabyte = 1024 * 1024
const toldTo = (webhooks: number, envelope: Buffer) =>
  Array.from({ length: webhooks }, () => ({ workspaceId, id: newUuid(), envelope }) as unknown as NewDelivery)

describe('a row’s weight', () => {
  it('counts an envelope that is in memory once as often as it is written, and what a phone makes long', () => {
    const deliveries = toldTo(100, Buffer.alloc(700_000))
    const row: Row = { kind: 'opened', row: opened('a'), deliveries }
    const { kept, written } = weightOf(row)
    expect([kept > 700_000, kept < 900_000, written > 70_000_000]).toEqual([true, true, true])
    const long = 'x'.repeat(700_000)
    for (const texts of [{ flowToken: long }, { screen: long }]) {
      const { kept, written } = weightOf({ kind: 'opened', row: { ...opened('a'), ...texts }, deliveries: [] })
      expect([kept > 700_000, written > 700_000]).toEqual([true, true])
    }
    const end = { ...closed(opened('a')), answerScreen: long }
    expect(weightOf({ kind: 'closed', row: end, deliveries: [] }).kept).toBeGreaterThan(700_000)
  })

  it('is written in parts that are a quick transaction each, in order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 3 * megabyte }), { maxLength: 20 }), (lengths) => {
        const deliveries = lengths.flatMap((length) => toldTo(1, Buffer.alloc(length)))
        const parts = partsOf({ kind: 'opened', row: opened('a'), deliveries })
        expect(parts.flatMap((part) => part.deliveries)).toEqual(deliveries)
        expect(parts.map(({ kind }) => kind)).toEqual(['opened', ...parts.slice(1).map(() => 'told')])
        for (const part of parts) expect(weightOf(part).written).toBeLessThan(4.1 * megabyte)
      }),
      { numRuns: 30 },
    )
  })
})

describe('a recorder', () => {
  it('acknowledges nothing that is on no disk, writes all, and keeps each flow token’s order, whatever fails', async () => {
    const mood = fc.constantFrom<Mood>('takes', 'gone', 'slow', 'slow_then_gone')
    const script = fc.array(mood, { maxLength: 6 })
    const calls = fc.array(fc.record({ token: fc.constantFrom('a', 'b', 'c'), turns: fc.nat({ max: 3 }) }), {
      maxLength: 30,
    })
    await fc.assert(
      fc.asyncProperty(script, calls, async (moods, made) => {
        const { database, spool, recorder, lost } = recorderOf(moods)
        const recorded: string[] = []
        const byToken = new Map<string, string[]>()
        const answers: Promise<void>[] = []
        for (const { token, turns } of made) {
          const row = opened(token)
          byToken.set(token, [...(byToken.get(token) ?? []), row.id])
          const acknowledged = recorder
            .opened(row, [], { patienceMs: 30 })
            .onDisk()
            .then(() => {
              const durable = new Set([...database.written, ...spool.everSpooled].map((found) => found.row.id))
              if (durable.has(row.id)) recorded.push(row.id)
              recorder.late({ workspaceId, id: row.id, lateReplyMs: 830 })
              recorder.closed(closed(row), token, [])
            })
          answers.push(acknowledged)
          for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
        }
        await Promise.all(answers)
        expect(recorded).toHaveLength(made.length)
        await eventually(() => new Set(names(database.written)).size === made.length * 3 && spool.rows === 0)
        for (const ids of byToken.values()) {
          // Rows may come again, so the first coming of each counts.
          const seen = [...new Set(database.written.filter(({ kind }) => kind === 'opened').map(({ row }) => row.id))]
          expect(seen.filter((id) => ids.includes(id))).toEqual(ids)
        }
        for (const { id } of database.written.map(({ row }) => row)) {
          const both = names(database.written).filter((name) => name.endsWith(id))
          expect(both[0]).toBe(`opened ${id}`)
        }
        expect([await recorder.close(1000), lost()]).toEqual([0, 0])
      }),
      { numRuns: 15 },
    )
  })

  it('lets answers go when neither takes their rows, and writes them later', async () => {
    const { database, recorder } = recorderOf(['gone', 'gone'], [true])
    const row = opened('a')
    await recorder.opened(row, [], { patienceMs: 20 }).onDisk()
    expect(database.written).toEqual([])
    await eventually(() => names(database.written).includes(`opened ${row.id}`))
    await recorder.close(1000)
  })

  it('has an answer that is owed a notice wait for the database a moment only, as its deadline may be over', async () => {
    const { spool, recorder } = recorderOf(['hangs'])
    const startedAt = performance.now()
    const row = opened('a')
    await recorder.closed(closed(row), 'a', toldTo(1, Buffer.from('{}'))).onDisk()
    // 50 ms; for what is not overdue it is 200.
    expect(performance.now() - startedAt).toBeLessThan(180)
    expect(names(spool.everSpooled)).toEqual([`closed ${row.id}`])
    await recorder.close(10)
  })

  it('bounds what waits in memory: the oldest rows are lost and counted', async () => {
    const forever = Array<Mood>(1000).fill('gone')
    const { recorder, lost } = recorderOf(forever, Array<boolean>(1000).fill(true))
    const large = Buffer.alloc(1024 * 1024)
    const answers = Array.from({ length: 100 }, (_, index) =>
      recorder.opened({ ...opened(String(index)), envelope: large }, [], { patienceMs: 20 }).onDisk(),
    )
    await Promise.all(answers)
    expect(lost()).toBeGreaterThan(30)
    const left = await recorder.close(10)
    expect(lost()).toBe(100)
    expect(left).toBeLessThan(70)
  })

  it('loses nobody’s row to one that tells a hundred webhooks, in the database or out of the spool', async () => {
    for (const moods of [['slow'], ['slow', 'gone']] as const) {
      const { database, spool, recorder, lost } = recorderOf(moods)
      const answers = Array.from({ length: 40 }, () => recorder.opened(opened('theirs'), []).onDisk())
      answers.push(recorder.opened(opened('mine'), toldTo(100, Buffer.alloc(740_000))).onDisk())
      answers.push(recorder.opened(opened('theirs'), []).onDisk())
      await Promise.all(answers)
      const onDisk = [...database.written, ...spool.everSpooled].flatMap(({ deliveries }) => deliveries)
      expect(new Set(onDisk.map(({ id }) => id)).size).toBe(100)
      const told = () => new Set(database.written.flatMap(({ deliveries }) => deliveries.map(({ id }) => id)))
      await eventually(() => told().size === 100 && spool.rows === 0)
      expect(new Set(names(database.written)).size).toBeGreaterThanOrEqual(42)
      expect(database.heaviest).toBeLessThan(5 * megabyte)
      expect([await recorder.close(1000), lost()]).toEqual([0, 0])
    }
  })

  it('writes in parts what a release before it put into one row of the spool', async () => {
    const { database, spool, recorder } = recorderOf(['gone'])
    spool.content.push(encodeRow({ kind: 'opened', row: opened('a'), deliveries: toldTo(100, Buffer.alloc(740_000)) }))
    await recorder.opened(opened('b'), [], { patienceMs: 20 }).onDisk()
    await eventually(() => spool.rows === 0)
    expect(database.written.flatMap(({ deliveries }) => deliveries)).toHaveLength(100)
    expect(database.heaviest).toBeLessThan(5 * megabyte)
    await recorder.close(1000)
  })

  it('brings to the disk what memory may not hold, before it gives up any', async () => {
    const { spool, recorder, lost } = recorderOf(['hangs'])
    const large = Buffer.alloc(megabyte)
    const answers = Array.from({ length: 100 }, () => recorder.opened({ ...opened('a'), envelope: large }, []).onDisk())
    await Promise.all(answers)
    expect([spool.rows, lost()]).toEqual([100, 0])
    await recorder.close(10)
  })

  it('gives up rows of the workspace that has most, where neither database nor disk takes any', async () => {
    const { database, recorder, lost } = recorderOf(Array<Mood>(20).fill('gone'), Array<boolean>(3).fill(true))
    const other = 'ws_2' as WorkspaceId
    const theirs = Array.from({ length: 10 }, () => ({ ...opened('a'), workspaceId: other }))
    const answers = theirs.map((row) => recorder.opened(row, [], { patienceMs: 20 }).onDisk())
    const large = Buffer.alloc(megabyte)
    for (let row = 0; row < 100; row++)
      answers.push(recorder.opened({ ...opened('b'), envelope: large }, [], { patienceMs: 20 }).onDisk())
    await Promise.all(answers)
    expect(lost()).toBeGreaterThan(30)
    const written = () => new Set(database.written.map(({ row }) => row.id))
    await eventually(() => theirs.every(({ id }) => written().has(id)), { timeoutMs: 20_000 })
    await recorder.close(1000)
  })

  it('at its end brings to the disk what the database does not take', async () => {
    const { database, spool, recorder, lost } = recorderOf(Array<Mood>(1000).fill('gone'))
    for (let call = 0; call < 1200; call++) recorder.opened(opened('a'), [])
    expect(await recorder.close(1000)).toBe(0)
    expect(spool.rows).toBe(1200)
    expect([database.written.length, lost(), spool.isClosed]).toEqual([0, 0, true])
  })

  it('at its end writes what no disk takes, before what is in the spool', async () => {
    const { database, spool, recorder, lost } = recorderOf(
      Array<Mood>(1000).fill('slow'),
      Array<boolean>(100).fill(true),
    )
    // More than the second that a process that ends has for it.
    for (let row = 0; row < 20_000; row++)
      spool.content.push(encodeRow({ kind: 'opened', row: opened('a'), deliveries: [] }))
    await recorder.adopt()
    const row = opened('b')
    recorder.opened(row, [], { patienceMs: 20 })
    expect(await recorder.close(3000)).toBe(0)
    expect(database.written.map((written) => written.row.id)).toContain(row.id)
    expect([spool.rows > 0, lost()]).toEqual([true, 0])
  })

  it('brings to the disk what was late already when it began to wait for the last of the spool', async () => {
    const { spool, recorder } = recorderOf(['gone', 'takes', 'hangs'])
    await recorder.opened(opened('a'), [], { patienceMs: 20 }).onDisk()
    const { promise, resolve } = Promise.withResolvers<void>()
    spool.gate = promise
    spool.isAppending = false
    recorder.opened(opened('b'), [], { patienceMs: 20 })
    await eventually(() => spool.isAppending)
    const late = opened('c')
    recorder.opened(late, [], { patienceMs: 20 })
    await eventually(() => spool.rows === 0)
    resolve()
    const isThere = () => spool.everSpooled.some(({ row }) => row.id === late.id)
    await eventually(isThere, { timeoutMs: 1000 })
    await recorder.close(10)
  })

  it('writes straight to the database again however many rows keep coming', async () => {
    const { database, spool, recorder } = recorderOf(['slow'])
    const { promise, resolve } = Promise.withResolvers<void>()
    spool.gate = promise
    recorder.opened(opened('a'), [], { patienceMs: 20 })
    // It is acknowledged before the disk has it, which it was late for.
    await eventually(() => spool.isAppending && database.written.length === 1)
    let isFed = true
    const feed = () => {
      recorder.opened(opened('b'), [])
      if (isFed) setImmediate(feed)
    }
    feed()
    resolve()
    await eventually(() => database.written.length > 100)
    isFed = false
    expect(await recorder.close(3000)).toBe(0)
  })

  it('does not hold an exchange back for rows that are in the spool', async () => {
    const { recorder } = recorderOf(Array<Mood>(1000).fill('gone'))
    await recorder.opened(opened('a'), [], { patienceMs: 20 }).onDisk()
    await recorder.unsettled(workspaceId, 'a')
    await recorder.close(10)
  })
})

describe('rows that no answer waits for yet', () => {
  // Time stands still, so that nothing is written by time alone.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  const slow = { awaitedInMs: 300 }
  const turns = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  }
  const openings = (...rows: readonly OpenedExchange[]) => rows.map(({ id }) => `opened ${id}`)

  /** A group was just written: what comes has others to gather with. */
  async function afterAGroup(script: readonly Mood[] = []) {
    const made = recorderOf(['takes', ...script])
    const first = opened('first')
    made.recorder.opened(first, [], slow)
    await turns()
    expect(made.database.groups).toEqual([openings(first)])
    made.database.groups.length = 0
    return { ...made, first }
  }

  it('gather, and are written as one group once an answer waits for one of them', async () => {
    const { database, recorder } = await afterAGroup()
    // Others that run in this process may have some.
    const timersBefore = vi.getTimerCount()
    const rows = [opened('a'), opened('b'), opened('c')]
    const recordings = []
    for (const row of rows) {
      recordings.push(recorder.opened(row, [], slow))
      await turns()
    }
    expect(database.groups).toEqual([])
    const answer = recordings[1]?.onDisk()
    // Another call's turn.
    await Promise.resolve()
    await Promise.resolve()
    const last = opened('d')
    recorder.opened(last, [], slow)
    const timers = vi.getTimerCount()
    await answer
    expect(database.groups).toEqual([openings(...rows, last)])
    // The alarm is left, and what was to end the gathering is not.
    expect([timers, vi.getTimerCount()]).toEqual([timersBefore, timersBefore])
    await recorder.close(1000)
  })

  it('are written 10 ms after the group before them, a closing 10 ms after it came', async () => {
    const { database, recorder, first } = await afterAGroup()
    const row = opened('a')
    recorder.opened(row, [], slow)
    await vi.advanceTimersByTimeAsync(9)
    await turns()
    expect(database.groups).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    await turns()
    expect(database.groups).toEqual([openings(row)])
    await vi.advanceTimersByTimeAsync(50)
    recorder.closed(closed(first), 'first', [])
    await vi.advanceTimersByTimeAsync(9)
    await turns()
    expect(database.groups).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1)
    await turns()
    expect(database.groups[1]).toEqual([`closed ${first.id}`])
    await recorder.close(1000)
  })

  it('go with an opening that has no others to gather with', async () => {
    const { database, recorder, first } = await afterAGroup()
    await vi.advanceTimersByTimeAsync(20)
    recorder.closed(closed(first), 'first', [])
    await turns()
    expect(database.groups).toEqual([])
    const next = opened('a')
    recorder.opened(next, [], slow)
    await turns()
    expect(database.groups).toEqual([[`closed ${first.id}`, ...openings(next)]])
    await recorder.close(1000)
  })

  it('do not keep an opening whose webhook is quick', async () => {
    const { database, recorder } = await afterAGroup()
    const [row, next, last] = [opened('a'), opened('b'), opened('c')]
    recorder.opened(row, [], slow)
    recorder.opened(next, [], { awaitedInMs: 14 })
    await turns()
    expect(database.groups).toEqual([openings(row, next)])
    recorder.opened(last, [], { awaitedInMs: 15 })
    await turns()
    expect(database.groups).toHaveLength(1)
    await recorder.close(1000)
  })

  it('gather with answers that wait for their row alone, for 5 ms: at most one group in so long', async () => {
    const { database, recorder } = await afterAGroup()
    const [row, one, another] = [opened('a'), opened('b'), opened('c')]
    recorder.opened(row, [], slow)
    const answers = [one, another].map((whole) => recorder.opened(whole, []).onDisk(false))
    await vi.advanceTimersByTimeAsync(4)
    await turns()
    expect(database.groups).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    await Promise.all(answers)
    expect(database.groups).toEqual([openings(row, one, another)])
    await vi.advanceTimersByTimeAsync(5)
    const later = opened('d')
    await recorder.opened(later, []).onDisk(false)
    expect(database.groups[1]).toEqual(openings(later))
    await recorder.close(1000)
  })

  it('gather on when an answer asks for a row that is written', async () => {
    const { database, recorder, first } = await afterAGroup()
    const recording = recorder.opened(opened('a'), [], slow)
    await recording.onDisk()
    recorder.closed(closed(first), 'first', [])
    await recording.onDisk()
    await turns()
    expect(database.groups).toHaveLength(1)
    await recorder.close(1000)
  })

  it('are written when the first of them is due, whichever came first', async () => {
    const { database, recorder, first } = await afterAGroup()
    await vi.advanceTimersByTimeAsync(2)
    recorder.closed(closed(first), 'first', [])
    await vi.advanceTimersByTimeAsync(2)
    const row = opened('a')
    recorder.opened(row, [], slow)
    await vi.advanceTimersByTimeAsync(5)
    await turns()
    expect(database.groups).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    await turns()
    expect(database.groups).toEqual([[`closed ${first.id}`, ...openings(row)]])
    await recorder.close(1000)
  })

  it('are written at once for the next exchange of their flow token, which waits for none that comes later', async () => {
    const { database, recorder } = await afterAGroup(['takes', 'hangs'])
    const [row, another, later] = [opened('a'), opened('a'), opened('a')]
    recorder.opened(row, [], slow)
    recorder.opened(another, [], slow)
    await turns()
    expect(database.groups).toEqual([])
    const written = recorder.unsettled(workspaceId, 'a')
    recorder.opened(opened('b'), [], slow)
    await new Promise(setImmediate)
    recorder.opened(later, [], slow)
    await written
    expect(database.groups[0]?.slice(0, 2)).toEqual(openings(row, another))
    expect(database.groups).toHaveLength(1)
    // Of a token that has none nobody waits.
    expect(recorder.unsettled(workspaceId, 'c')).toBeUndefined()
    await turns()
    expect(database.groups).toHaveLength(1)
    await recorder.close(10)
  })

  it('are written at once with a completed form, and at the end', async () => {
    const { database, spool, recorder, first } = await afterAGroup()
    recorder.closed({ ...closed(first), completed: {} } as ClosedExchange, 'first', [])
    await turns()
    expect(database.groups).toEqual([[`closed ${first.id}`]])
    const row = opened('a')
    recorder.opened(row, [], slow)
    await turns()
    expect(database.groups).toHaveLength(1)
    expect(await recorder.close(1000)).toBe(0)
    expect([database.groups[1], spool.rows]).toEqual([openings(row), 0])
  })

  it('are written group by group when an answer waits for one of more than a group holds', async () => {
    const { database, recorder } = await afterAGroup()
    const recordings = Array.from({ length: 501 }, () => recorder.opened(opened('a'), [], slow))
    await recordings.at(-1)?.onDisk()
    expect(database.groups.map((group) => group.length)).toEqual([500, 1])
    await recorder.close(1000)
  })
})

it('rows that gather come to the disk where the database is away, and to the database later', async () => {
  const { database, spool, recorder } = recorderOf(['takes', 'gone', 'gone'])
  const [first, ...rows] = [opened('first'), opened('a'), opened('b')]
  await recorder.opened(first as OpenedExchange, []).onDisk()
  const recordings = rows.map((row) => recorder.opened(row, [], { awaitedInMs: 300 }))
  await recordings[0]?.onDisk()
  await eventually(() => spool.everSpooled.length === 2)
  expect(names(spool.everSpooled)).toEqual(rows.map(({ id }) => `opened ${id}`))
  await eventually(() => new Set(names(database.written)).size === 3 && spool.rows === 0)
  await recorder.close(1000)
})
