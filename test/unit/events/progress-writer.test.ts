import { pino } from 'pino'
import { describe, expect, it } from 'vitest'
import { newUuid, newWorkspaceId, type WorkspaceId } from '../../../src/domain/ids.ts'
import { type Finished, ProgressWriter } from '../../../src/events/progress-writer.ts'
import type { Queue } from '../../../src/events/queue.ts'
import type { Database } from '../../../src/storage/database.ts'
import { eventually } from '../../support/eventually.ts'

type Mood = 'takes' | 'locked' | 'away' | 'hangs'

/** A database by its moods: `mood` is asked for each transaction, of the workspaces whose rows it writes. */
function writerOn(mood: (workspaces: ReadonlySet<string>) => Mood, lockedMs = 0) {
  const tries: ReadonlySet<string>[] = []
  let underWay = 0
  const run = async (rows: { workspace_id: string; id: string }[]) => {
    const workspaces = new Set(rows.map((row) => row.workspace_id))
    tries.push(workspaces)
    const now = mood(workspaces)
    if (now === 'hangs') await new Promise(() => undefined)
    if (now === 'away') throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' })
    if (now === 'takes') return rows.map(({ id }) => ({ id }))
    underWay++
    await new Promise((done) => setTimeout(done, lockedMs))
    underWay--
    throw Object.assign(new Error('locked'), { code: '55P03' })
  }
  const tx = {
    unsafe: (text: string, values?: [string]) =>
      values === undefined
        ? { execute: async () => expect(text).toContain('lock_timeout') }
        : run(JSON.parse(values[0])),
  }
  const work = { options: { prepare: true }, begin: (transaction: (own: typeof tx) => unknown) => transaction(tx) }
  const database = { backend: 'postgres', work, renew: () => undefined } as unknown as Database
  const queue = { set: async () => undefined, remove: async () => undefined } as unknown as Queue
  const writer = new ProgressWriter(database, queue, pino({ enabled: false }))
  const written: string[] = []
  return {
    writer,
    tries,
    written,
    isIdle: () => underWay === 0,
    add: (workspaceId: WorkspaceId) => writer.add(delivered(workspaceId, () => void written.push(workspaceId))),
  }
}

function delivered(workspaceId: WorkspaceId, written: () => void): Finished {
  const at = new Date()
  const end = { status: 'delivered', reason: null, attempts: 1, failures: 0, dueAt: null, attempt: null } as const
  return {
    progress: { workspaceId, deliveryId: newUuid(), webhookId: 'wh_1', wasDueAt: at, at, ...end },
    judged: null,
    written,
  }
}

const workspaceIds = (count: number) => Array.from({ length: count }, newWorkspaceId)

describe('a workspace whose rows are locked', () => {
  it('is not tried again while others wait, nor waited for, and is written a little later', async () => {
    const held = newWorkspaceId()
    let isHeld = true
    const { writer, tries, written, add } = writerOn((of) => (isHeld && of.has(held) ? 'locked' : 'takes'))
    const others = workspaceIds(50)
    add(held)
    for (let added = 0; added < 4000; added++) add(others[added % others.length] ?? held)
    await eventually(() => written.length === 4000, { everyMs: 1 })
    const triesOfHeld = () => tries.filter((of) => of.has(held)).length
    // With the others of its group, then apart; and where this takes seconds, once more in two of them.
    expect(triesOfHeld()).toBeLessThan(5)
    // What comes meanwhile ends the wait for it, and does not have it tried either.
    for (const id of others.slice(0, 20)) {
      const count = written.length
      add(id)
      await eventually(() => written.length > count, { everyMs: 1 })
    }
    expect(triesOfHeld()).toBeLessThan(12)
    isHeld = false
    await eventually(() => written.includes(held))
    await writer.close(1000)
  })

  it('is found among others: each is written apart until the database is away', async () => {
    const [first, second, third] = [newWorkspaceId(), newWorkspaceId(), newWorkspaceId()]
    let isAway = true
    const mood = (of: ReadonlySet<string>) => (of.size > 1 ? 'locked' : isAway ? 'away' : 'takes')
    const { writer, tries, written, add } = writerOn(mood)
    for (const id of [first, second, third]) add(id)
    await eventually(() => tries.length > 2)
    expect(tries.slice(0, 3).map((of) => of.size)).toEqual([3, 1, 3])
    isAway = false
    await eventually(() => written.length === 3)
    expect(written).toEqual([first, second, third])
    await writer.close(1000)
  })
})

describe('the end', () => {
  it('does not wait for a database that hangs', async () => {
    const { writer, add } = writerOn(() => 'hangs')
    add(newWorkspaceId())
    const startedAt = performance.now()
    await writer.close(50)
    expect(performance.now() - startedAt).toBeLessThan(3000)
  })

  it('waits no longer for many that are locked than for one, and then begins nothing more', async () => {
    const { writer, tries, add, isIdle } = writerOn(() => 'locked', 20)
    for (const id of workspaceIds(40)) add(id)
    await writer.close(100)
    await eventually(isIdle)
    expect(tries.length).toBeLessThan(10)
  })

  it('writes what others have, and tries what was locked once more after it', async () => {
    const [held, other] = [newWorkspaceId(), newWorkspaceId()]
    let isHeld = true
    const { writer, tries, written, add } = writerOn((of) => (isHeld && of.has(held) ? 'locked' : 'takes'))
    add(held)
    await eventually(() => tries.length === 1)
    isHeld = false
    add(other)
    await writer.close(1000)
    expect(written).toEqual([other, held])
  })
})
