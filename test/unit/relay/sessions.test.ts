import { pino } from 'pino'
import { expect, it } from 'vitest'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import type { Account } from '../../../src/relay/directory.ts'
import type { Recorder } from '../../../src/relay/recorder.ts'
import { createSessions } from '../../../src/relay/sessions.ts'
import type { Database } from '../../../src/storage/database.ts'

const account = { workspaceId: 'ws_1' as WorkspaceId, fallsBackToAnswers: false } as Account

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
