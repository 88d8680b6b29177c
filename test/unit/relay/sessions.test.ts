import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import type { Account } from '../../../src/relay/directory.ts'
import type { Recorder } from '../../../src/relay/recorder.ts'
import { createSessions } from '../../../src/relay/sessions.ts'
import type { Database } from '../../../src/storage/database.ts'
import { exchangeConnections } from '../../../src/storage/pools.ts'

const account = { workspaceId: 'ws_1' as WorkspaceId, fallsBackToAnswers: false } as Account

it('asks no more where reads past their budget hold every connection: it would only queue behind them', async () => {
  let statements = 0
  const unsafe = () => {
    statements++
    return new Promise<never>(() => undefined)
  }
  const database = { reads: { unsafe }, backend: 'postgres' } as unknown as Database
  const sessions = createSessions(
    database,
    { unsettled: () => undefined } as unknown as Recorder,
    1,
    pino({ enabled: false }),
  )
  for (let call = 0; call < 2 * exchangeConnections; call++) {
    const session = await sessions.load(account, { flowToken: `token-${call}`, action: 'init', screen: null })
    expect(session.found).toBe('late')
  }
  expect(statements).toBe(exchangeConnections)
})

it('reads nothing where it has no time', async () => {
  const unsafe = () => {
    throw new Error('is not to be asked')
  }
  const database = { reads: { unsafe }, backend: 'postgres' } as unknown as Database
  const recorder = { unsettled: () => undefined } as unknown as Recorder
  const sessions = createSessions(database, recorder, 0, pino({ enabled: false }))
  expect((await sessions.load(account, { flowToken: 'a', action: 'init', screen: null })).found).toBe('late')
})

it('reads what is asked for in one turn together, what has waited for its row too', async () => {
  const statements: string[][] = []
  const unsafe = async (_text: string, [asked]: [string]) => {
    statements.push(JSON.parse(asked).map(({ flow_token }: { flow_token: string }) => flow_token))
    return []
  }
  const database = { reads: { unsafe }, backend: 'postgres' } as unknown as Database
  const unsettled = (_workspaceId: WorkspaceId, flowToken: string) =>
    flowToken === 'waited' ? Promise.resolve() : undefined
  const sessions = createSessions(database, { unsettled } as Recorder, 60_000, pino({ enabled: false }))
  const load = (flowToken: string) => sessions.load(account, { flowToken, action: 'init', screen: null })

  const loaded = await Promise.all(['waited', 'one', 'other'].map(load))
  expect(loaded.map(({ found }) => found)).toEqual(['loaded', 'loaded', 'loaded'])
  expect(statements.map((tokens) => tokens.toSorted())).toEqual([['one', 'other', 'waited']])
})

describe('of two that waited for the same group', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('the budget of the one that waited longer does not end the other’s read', async () => {
    const read = Promise.withResolvers<never[]>()
    const database = { reads: { unsafe: () => read.promise }, backend: 'postgres' } as unknown as Database
    const written = Promise.withResolvers<void>()
    const recorder = { unsettled: () => written.promise } as unknown as Recorder
    const sessions = createSessions(database, recorder, 100, pino({ enabled: false }))
    const load = (flowToken: string) => sessions.load(account, { flowToken, action: 'init', screen: null })
    const early = load('early')
    await vi.advanceTimersByTimeAsync(95)
    const fresh = load('fresh')
    written.resolve()
    await vi.advanceTimersByTimeAsync(10)
    expect((await early).found).toBe('late')
    read.resolve([])
    expect((await fresh).found).toBe('loaded')
  })
})
