import { pino } from 'pino'
import { expect, it } from 'vitest'
import type { BreakerChange } from '../../../src/delivery/breaker.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import { BreakerLog } from '../../../src/relay/breaker-log.ts'

function start() {
  const lines: Record<string, unknown>[] = []
  const clock = { ms: 0 }
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const breakerLog = new BreakerLog(log, '4711-3fa09c', () => clock.ms)
  const tell = (change: BreakerChange) =>
    breakerLog.tell({ webhookId: 'wh_1', workspaceId: 'ws_1' as WorkspaceId }, change)
  return { lines, clock, tell }
}

const opened = { to: 'open', by: 'calls', calls: 20, failed: 12 } as const
const closed = { to: 'closed', by: 'probes', openMs: 5000.4, refused: 99 } as const

it('tells of the first opening and of the closing, not of probes between', () => {
  const { lines, tell } = start()
  for (const change of [
    opened,
    { to: 'half_open' },
    { to: 'open', by: 'probe' },
    { to: 'half_open' },
    closed,
  ] as const) {
    tell(change)
  }
  const ids = { webhookId: 'wh_1', workspaceId: 'ws_1', process: '4711-3fa09c' }
  expect(lines).toMatchObject([
    { level: 40, ...ids, calls: 20, failed: 12, msg: 'the breaker of a webhook opened' },
    { level: 30, ...ids, by: 'probes', refused: 99, openMs: 5000, msg: 'the breaker of a webhook closed' },
  ])
})

it('writes at most 20 lines in 10 s, and says later how many there were besides', () => {
  const { lines, clock, tell } = start()
  for (let i = 0; i < 1000; i++) tell(opened)
  expect(lines).toHaveLength(20)
  clock.ms += 10_000
  tell(closed)
  tell(closed)
  expect(lines.slice(20)).toMatchObject([{ untold: 980 }, {}])
  expect(lines.at(-1)).not.toHaveProperty('untold')
})
