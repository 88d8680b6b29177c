import { describe, expect, it } from 'vitest'
import { ExchangeLedger } from '../../../src/relay/ledger.ts'
import { Stopwatch } from '../../../src/relay/stopwatch.ts'

describe('the record of an exchange', () => {
  it('that is closed as soon as it is opened gathers with others, and its latency has the wait for the row in it', async () => {
    const measured: { outcome: string; ms: number }[] = []
    const disk = Promise.withResolvers<void>()
    const hurried: (boolean | undefined)[] = []
    const recording = {
      onDisk: (isHurried?: boolean) => {
        hurried.push(isHurried)
        return disk.promise
      },
    }
    const parts = {
      recorder: { opened: () => recording, closed: () => recording },
      metrics: {
        exchangeEnded: (outcome: string, ms: number) => measured.push({ outcome, ms }),
        answerWaited: () => undefined,
      },
      log: { warn: () => undefined, info: () => undefined, debug: () => undefined, error: () => undefined },
    }
    const startedAt = performance.now()
    const account = { workspaceId: 'ws_1', wabaId: '1' }
    const facts = { id: 'made-up', now: new Date(), account, watch: new Stopwatch(startedAt), request: null }
    const ended = new ExchangeLedger(parts as never, facts as never).end({ outcome: 'undecryptable', text: null })
    await new Promise(setImmediate)
    expect(measured).toEqual([])
    expect(hurried).toEqual([false])
    const waited = performance.now() - startedAt
    disk.resolve()
    await ended
    expect(measured).toMatchObject([{ outcome: 'undecryptable' }])
    expect(measured[0]?.ms).toBeGreaterThanOrEqual(waited)
  })
})
