import { beforeEach, describe, expect, it } from 'vitest'
import { createLog } from '../../../src/ops/logger.ts'
import { FlowWatch } from '../../../src/relay/flow-watch.ts'

let nowMs: number
let lines: Record<string, unknown>[]
let watch: FlowWatch
beforeEach(() => {
  ;[nowMs, lines] = [1_000_000, []]
  const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  watch = new FlowWatch(log, () => nowMs)
})
const calls = (flowId: string, count: number, ms: number) => {
  for (let i = 0; i < count; i++) watch.ended(flowId, 'ws_1', ms)
}

describe('a flow', () => {
  it('is slow where more than a tenth of its answers take over 0.8 s, whatever the others do', () => {
    calls('flow_fine', 10_000, 100)
    calls('flow_edge', 90, 100)
    calls('flow_edge', 10, 801)
    calls('flow_slow', 89, 100)
    calls('flow_slow', 11, 801)
    calls('flow_just', 100, 800)
    expect(watch.countSlow()).toBe(1)
    expect(lines).toMatchObject([{ level: 'warn', count: 1, flows: [{ flowId: 'flow_slow', workspaceId: 'ws_1' }] }])
  })

  it('is told of once, and again where it comes back', () => {
    calls('flow_a', 30, 2000)
    expect([watch.countSlow(), watch.countSlow()]).toEqual([1, 1])
    expect(lines).toHaveLength(1)
    calls('flow_a', 1000, 20)
    expect(watch.countSlow()).toBe(0)
    calls('flow_a', 1000, 2000)
    expect(watch.countSlow()).toBe(1)
    expect(lines).toHaveLength(2)
  })

  it('of few calls is not judged', () => {
    calls('flow_a', 19, 5000)
    expect(watch.countSlow()).toBe(0)
    calls('flow_a', 1, 5000)
    expect(watch.countSlow()).toBe(1)
  })

  it('is judged by the last five minutes, and forgotten after them', () => {
    calls('flow_a', 30, 2000)
    nowMs += 4 * 60_000
    calls('flow_a', 270, 20)
    expect(watch.countSlow()).toBe(0)
    calls('flow_a', 4, 2000)
    expect(watch.countSlow()).toBe(1)
    // The thirty are past: 4 of 274.
    nowMs += 60_000
    expect(watch.countSlow()).toBe(0)
    nowMs += 3_600_000
    expect(watch.countSlow()).toBe(0)
    calls('flow_a', 20, 2000)
    expect(watch.countSlow()).toBe(1)
  })
})

it('flows without end take no memory without end, and come in as others fall quiet', () => {
  for (let flow = 0; flow < 10_000; flow++) watch.ended(`flow_${flow}`, 'ws_1', 2000)
  calls('flow_late', 30, 2000)
  expect(watch.countSlow()).toBe(0)
  nowMs += 5 * 60_000
  watch.countSlow()
  calls('flow_late', 30, 2000)
  expect(watch.countSlow()).toBe(1)
})

it('many that become slow at once are one line, with some of their names', () => {
  for (let flow = 0; flow < 50; flow++) calls(`flow_${flow}`, 20, 2000)
  expect(watch.countSlow()).toBe(50)
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatchObject({ count: 50 })
  expect(lines[0]?.flows).toHaveLength(20)
})
