import { pino } from 'pino'
import { expect, it } from 'vitest'
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

it('reads what is asked for in one turn together, and what has waited for its row apart: little of its budget is left', async () => {
  const statements: string[][] = []
  const unsafe = async (_text: string, [asked]: [string]) => {
    statements.push(JSON.parse(asked).map(({ flow_token }: { flow_token: string }) => flow_token))
    return []
  }
  const database = { reads: { unsafe }, backend: 'postgres' } as unknown as Database
  const written = Promise.withResolvers<void>()
  const unsettled = (_workspaceId: WorkspaceId, flowToken: string) =>
    flowToken === 'waited' ? written.promise : undefined
  const sessions = createSessions(database, { unsettled } as Recorder, 60_000, pino({ enabled: false }))
  const load = (flowToken: string) => sessions.load(account, { flowToken, action: 'init', screen: null })

  written.resolve()
  const loaded = await Promise.all(['waited', 'one', 'other'].map(load))
  expect(loaded.map(({ found }) => found)).toEqual(['loaded', 'loaded', 'loaded'])
  expect(statements.toSorted()).toEqual([['one', 'other'], ['waited']])
})
