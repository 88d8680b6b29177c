import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Admission, type CallResult, createGatekeeper, type Gatekeeper } from '../../../src/delivery/breaker.ts'

/** A gatekeeper on a clock of its own, and the calls of one webhook on it. */
function start() {
  const clock = { ms: 5_000_000 }
  const gatekeeper = createGatekeeper({ now: () => clock.ms })
  const call = (result: CallResult, webhookId = 'wh_1', workspaceId = 'ws_1'): Admission['kind'] => {
    const admission = gatekeeper.admit(webhookId, workspaceId, 'on')
    gatekeeper.release(webhookId, workspaceId, admission, result)
    return admission.kind
  }
  const calls = (count: number, result: CallResult): void => {
    for (let i = 0; i < count; i++) call(result)
  }
  return { clock, gatekeeper, call, calls }
}

describe('opening', () => {
  test('19 failures leave it closed, the 20th opens it', () => {
    const { gatekeeper, calls, call } = start()
    calls(19, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('closed')
    expect(call('failure')).toBe('closed')
    expect(gatekeeper.state('wh_1')).toBe('open')
    expect(call('success')).toBe('breaker_open')
  })

  test('half of the calls is enough, less is not', () => {
    const { gatekeeper, calls } = start()
    calls(11, 'success')
    calls(10, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('closed')
    calls(1, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('open')
  })

  test('only the last 30 s count', () => {
    const { clock, gatekeeper, calls } = start()
    calls(19, 'failure')
    clock.ms += 30_000
    calls(19, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('closed')
    clock.ms += 29_000
    calls(1, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('open')
  })

  test('neutral results do not count', () => {
    const { gatekeeper, calls } = start()
    calls(100, 'neutral')
    calls(19, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('closed')
  })

  test('one webhook does not open the other', () => {
    const { call, calls } = start()
    calls(20, 'failure')
    expect(call('success', 'wh_2')).toBe('closed')
  })
})

describe('probing', () => {
  test('after 5 s one probe at a time; five successes close it', () => {
    const { clock, gatekeeper, calls, call } = start()
    calls(20, 'failure')
    clock.ms += 4_999
    expect(call('success')).toBe('breaker_open')
    clock.ms += 1
    expect(gatekeeper.state('wh_1')).toBe('half_open')
    for (let i = 0; i < 5; i++) {
      const probe = gatekeeper.admit('wh_1', 'ws_1', 'on')
      expect(probe.kind).toBe('probe')
      expect(gatekeeper.admit('wh_1', 'ws_1', 'on').kind).toBe('breaker_open')
      gatekeeper.release('wh_1', 'ws_1', probe, 'success')
    }
    expect(gatekeeper.state('wh_1')).toBe('closed')
    calls(19, 'failure')
    expect(gatekeeper.state('wh_1')).toBe('closed')
  })

  test('a failed probe opens it for another 5 s and the count begins anew', () => {
    const { clock, gatekeeper, calls, call } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    calls(4, 'success')
    expect(call('failure')).toBe('probe')
    expect(gatekeeper.state('wh_1')).toBe('open')
    clock.ms += 5_000
    calls(4, 'success')
    expect(gatekeeper.state('wh_1')).toBe('half_open')
    calls(1, 'success')
    expect(gatekeeper.state('wh_1')).toBe('closed')
  })

  test('a neutral probe only makes room for the next', () => {
    const { clock, gatekeeper, calls, call } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    expect(call('neutral')).toBe('probe')
    expect(call('success')).toBe('probe')
    expect(gatekeeper.state('wh_1')).toBe('half_open')
  })

  test('calls from before it opened change nothing when they end', () => {
    const { clock, gatekeeper, calls } = start()
    const old = gatekeeper.admit('wh_1', 'ws_1', 'on')
    const older = gatekeeper.admit('wh_1', 'ws_1', 'on')
    calls(20, 'failure')
    clock.ms += 5_000
    gatekeeper.release('wh_1', 'ws_1', old, 'failure')
    gatekeeper.release('wh_1', 'ws_1', older, 'success')
    expect(gatekeeper.state('wh_1')).toBe('half_open')
  })
})

test('mode off never opens, and closes what was open', () => {
  const { gatekeeper, calls } = start()
  calls(20, 'failure')
  for (let i = 0; i < 100; i++) {
    const admission = gatekeeper.admit('wh_1', 'ws_1', 'off')
    expect(admission.kind).toBe('closed')
    gatekeeper.release('wh_1', 'ws_1', admission, 'failure')
  }
  expect(gatekeeper.state('wh_1')).toBe('closed')
})

describe('forgetting', () => {
  test('forget closes the breaker and keeps count of what is in flight', () => {
    const { gatekeeper, calls, call } = start()
    const held = Array.from({ length: 63 }, () => gatekeeper.admit('wh_1', 'ws_1', 'on'))
    calls(20, 'failure')
    gatekeeper.forget('wh_1')
    expect(gatekeeper.state('wh_1')).toBe('closed')
    expect(call('success')).toBe('closed')
    held.push(gatekeeper.admit('wh_1', 'ws_1', 'on'))
    expect(call('success')).toBe('overloaded')
    for (const admission of held) gatekeeper.release('wh_1', 'ws_1', admission, 'success')
    expect(call('success')).toBe('closed')
  })

  test('an open breaker still probes after half an hour without calls, and not after an hour', () => {
    const { clock, call, calls } = start()
    calls(20, 'failure')
    clock.ms += 1_800_000
    expect(call('neutral', 'wh_2')).toBe('closed')
    expect(call('neutral')).toBe('probe')
    clock.ms += 3_600_000
    expect(call('neutral', 'wh_2')).toBe('closed')
    expect(call('neutral')).toBe('closed')
  })
})

describe('bounds', () => {
  test('64 at once per webhook', () => {
    const { gatekeeper, call } = start()
    const held = Array.from({ length: 64 }, () => gatekeeper.admit('wh_1', 'ws_1', 'on'))
    expect(new Set(held.map((it) => it.kind))).toEqual(new Set(['closed']))
    expect(call('success')).toBe('overloaded')
    expect(call('success', 'wh_2')).toBe('closed')
    gatekeeper.release('wh_1', 'ws_1', held[0] ?? { kind: 'overloaded' }, 'success')
    expect(call('success')).toBe('closed')
  })

  test('512 at once per workspace', () => {
    const { gatekeeper, call } = start()
    for (let i = 0; i < 512; i++) expect(gatekeeper.admit(`wh_${i % 8}`, 'ws_1', 'off').kind).toBe('closed')
    expect(call('success', 'wh_new')).toBe('overloaded')
    expect(call('success', 'wh_new', 'ws_2')).toBe('closed')
    gatekeeper.release('wh_0', 'ws_1', { kind: 'closed' }, 'success')
    expect(call('success', 'wh_new')).toBe('closed')
  })

  test('a probe that finds no room does not take the place of the next', () => {
    const { clock, gatekeeper, call, calls } = start()
    calls(20, 'failure')
    clock.ms += 5_000
    for (let i = 0; i < 512; i++) gatekeeper.admit(`wh_other_${i % 8}`, 'ws_1', 'off')
    expect(call('success')).toBe('overloaded')
    gatekeeper.release('wh_other_0', 'ws_1', { kind: 'closed' }, 'success')
    expect(call('success')).toBe('probe')
  })
})

/** The contract's sentences, word for word and as slow as that is: a list of calls, looked through each time. */
class Model {
  #calls: { second: number; failed: boolean }[] = []
  #openedAt: number | null = null
  #successes = 0
  probing = false
  inFlight = 0

  state(at: number) {
    if (this.#openedAt === null) return 'closed'
    return at - this.#openedAt < 5_000 ? 'open' : 'half_open'
  }

  admit(at: number): Admission['kind'] {
    const state = this.state(at)
    if (state === 'open' || (state === 'half_open' && this.probing)) return 'breaker_open'
    if (this.inFlight >= 64) return 'overloaded'
    this.inFlight += 1
    if (state === 'closed') return 'closed'
    this.probing = true
    return 'probe'
  }

  release(at: number, kind: Admission['kind'], result: CallResult) {
    this.inFlight -= 1
    if (kind === 'probe') this.probing = false
    if (result === 'neutral') return
    const failed = result === 'failure'
    if (this.#openedAt !== null) {
      if (kind !== 'probe') return
      this.#successes = failed ? 0 : this.#successes + 1
      if (failed) this.#openedAt = at
      if (this.#successes === 5) this.#reset(null)
      return
    }
    const second = Math.floor(at / 1000)
    this.#calls.push({ second, failed })
    const recent = this.#calls.filter((call) => second - call.second < 30)
    const failures = recent.filter((call) => call.failed).length
    if (recent.length >= 20 && failures / recent.length >= 0.5) this.#reset(at)
  }

  #reset(openedAt: number | null) {
    this.#openedAt = openedAt
    this.#successes = 0
    this.#calls = []
  }
}

type Step =
  | { do: 'admit'; count: number }
  | { do: 'release'; pick: number; count: number; result: CallResult }
  | { do: 'wait'; ms: number }

const result = fc.constantFrom<CallResult>('success', 'failure', 'failure', 'neutral')
const count = fc.integer({ min: 1, max: 30 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('admit' as const), count }),
  fc.record({ do: fc.constant('release' as const), pick: fc.nat(1000), count, result }),
  fc.record({
    do: fc.constant('wait' as const),
    ms: fc.oneof(fc.nat(1500), fc.constantFrom(4_999, 5_000, 29_999, 30_000, 31_000)),
  }),
)

test('does as the model in any order of calls, ends and pauses', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const clock = { ms: 1_000 }
      const gatekeeper = createGatekeeper({ now: () => clock.ms })
      const model = new Model()
      const held: Admission[] = []
      for (const step of steps) take(step, clock, gatekeeper, model, held)
    }),
    { numRuns: 500 },
  )
})

function take(step: Step, clock: { ms: number }, gatekeeper: Gatekeeper, model: Model, held: Admission[]): void {
  if (step.do === 'wait') clock.ms += step.ms
  for (let i = 0; step.do === 'admit' && i < step.count; i++) {
    const admission = gatekeeper.admit('wh_1', 'ws_1', 'on')
    expect(admission.kind).toBe(model.admit(clock.ms))
    if (admission.kind === 'closed' || admission.kind === 'probe') held.push(admission)
  }
  for (let i = 0; step.do === 'release' && i < step.count && held.length > 0; i++) {
    const [admission] = held.splice(step.pick % held.length, 1)
    if (admission === undefined) continue
    gatekeeper.release('wh_1', 'ws_1', admission, step.result)
    model.release(clock.ms, admission.kind, step.result)
  }
  expect(gatekeeper.state('wh_1')).toBe(model.state(clock.ms))
}
