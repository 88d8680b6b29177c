import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Admission, BreakerChange, CallResult } from '../../../src/delivery/breaker.ts'
import type { BreakerMode, BreakerState } from '../../../src/domain/webhook.ts'
import { startGatekeeper, type Told, webhook } from './gatekeeper-setup.ts'

/**
 * The gatekeeper against contract.md §3 "Breaker and bounds" written down as naively as can be: a list of all calls with their times, looked
 * through each time. Any order of calls, ends, pauses, modes and closings by hand, of ten webhooks of two workspaces.
 */

interface ModelCall {
  readonly at: number
  readonly failed: boolean
}

class ModelWebhook {
  calls: ModelCall[] = []
  openedAt: number | null = null
  firstOpenedAt = 0
  refused = 0
  successes = 0
  probe: { call: HeldCall; at: number } | null = null
  hasProbed = false
  usedAt = 0
  /** Moves with each opening and closing. */
  age = 0
  /** Calls that are held, and those that were admitted with a breaker that is on since the last opening or closing. */
  inFlight = 0
  begun = 0
}

interface HeldCall {
  readonly webhookId: string
  readonly workspaceId: string
  readonly kind: Admission['kind']
  readonly age: number
  readonly admission: Admission
}

class Model {
  readonly webhooks = new Map<string, ModelWebhook>()
  readonly changes: Told[] = []
  readonly held: HeldCall[] = []
  now = 0

  of(webhookId: string): ModelWebhook {
    const known = this.webhooks.get(webhookId) ?? new ModelWebhook()
    this.webhooks.set(webhookId, known)
    const hourAgo = this.now - 3_600_000
    if (known.openedAt !== null && known.inFlight === 0 && known.usedAt <= hourAgo) this.#close(webhookId, 'disuse')
    return known
  }

  state(webhookId: string): BreakerState {
    const { openedAt } = this.of(webhookId)
    if (openedAt === null) return 'closed'
    return this.now < openedAt + 5_000 ? 'open' : 'half_open'
  }

  admit(webhookId: string, workspaceId: string, mode: BreakerMode): Admission['kind'] {
    const it = this.of(webhookId)
    it.usedAt = this.now
    if (mode === 'off') this.closeByHand(webhookId)
    const state = this.state(webhookId)
    const isProbing = it.probe !== null && this.now < it.probe.at + 10_000
    if (state === 'open' || (state === 'half_open' && isProbing)) {
      it.refused += 1
      return 'breaker_open'
    }
    let inWorkspace = 0
    for (const [name, other] of this.webhooks) if (workspaceOf(name) === workspaceId) inWorkspace += other.inFlight
    if (it.inFlight >= 64 || inWorkspace >= 512) return 'overloaded'
    if (mode === 'off') return 'unguarded'
    return state === 'closed' ? 'closed' : 'probe'
  }

  hold(call: HeldCall): void {
    const it = this.of(call.webhookId)
    this.held.push(call)
    it.inFlight += 1
    if (call.kind === 'closed') it.begun += 1
    if (call.kind !== 'probe') return
    it.probe = { call, at: this.now }
    if (!it.hasProbed) this.#tell(call.webhookId, { to: 'half_open' })
    it.hasProbed = true
  }

  release(call: HeldCall, result: CallResult): void {
    const it = this.of(call.webhookId)
    it.usedAt = this.now
    it.inFlight -= 1
    this.held.splice(this.held.lastIndexOf(call), 1)
    if (call.age !== it.age) return
    if (call.kind === 'closed' && result !== 'neutral') {
      it.calls.push({ at: this.now, failed: result === 'failure' })
      const tenth = (at: number) => Math.floor(at / 100)
      const recent = it.calls.filter(({ at }) => tenth(this.now) - tenth(at) < 300)
      const failed = recent.filter((ended) => ended.failed).length
      if (recent.length < 20 || failed / recent.length < 0.5) return
      this.#open(call.webhookId, { by: 'calls', calls: recent.length, failed })
    }
    if (call.kind !== 'probe' || it.probe?.call !== call) return
    it.probe = null
    if (result === 'failure') this.#open(call.webhookId, { by: 'probe' })
    if (result === 'success') it.successes += 1
    if (it.successes === 5) this.#close(call.webhookId, 'probes')
  }

  closeByHand(webhookId: string): void {
    if (this.of(webhookId).begun > 0) this.#close(webhookId, 'configuration')
  }

  #open(webhookId: string, why: { by: 'probe' } | { by: 'calls'; calls: number; failed: number }): void {
    const it = this.of(webhookId)
    const isFirst = it.openedAt === null
    Object.assign(it, { openedAt: this.now, calls: [], successes: 0, probe: null, hasProbed: false, age: it.age + 1 })
    if (isFirst) Object.assign(it, { firstOpenedAt: this.now, refused: 0 })
    this.#tell(webhookId, { to: 'open', ...why })
  }

  #close(webhookId: string, by: 'probes' | 'configuration' | 'disuse'): void {
    const it = this.webhooks.get(webhookId)
    if (it === undefined) return
    const { openedAt, firstOpenedAt, refused } = it
    Object.assign(it, {
      openedAt: null,
      calls: [],
      successes: 0,
      probe: null,
      hasProbed: false,
      age: it.age + 1,
      begun: 0,
    })
    if (openedAt !== null) this.#tell(webhookId, { to: 'closed', by, openMs: this.now - firstOpenedAt, refused })
  }

  #tell(webhookId: string, change: BreakerChange): void {
    this.changes.push({ webhookId, ...change })
  }
}

type Step =
  | { do: 'calls'; webhookId: string; count: number; result: CallResult; mode: BreakerMode }
  | { do: 'begin'; webhookId: string; count: number; mode: BreakerMode }
  | { do: 'end'; pick: number; count: number; result: CallResult }
  | { do: 'crowd' }
  | { do: 'wait'; ms: number }
  | { do: 'close'; webhookId: string }

/** Most steps are about the first two; the others make the workspace full. */
const names = Array.from({ length: 10 }, (_, n) => `wh_${n}`)
const workspaceOf = (webhookId: string) => (webhookId === 'wh_1' ? 'ws_2' : 'ws_1')

const webhookId = fc.constantFrom('wh_0', 'wh_0', 'wh_0', 'wh_1', 'wh_2')
const result = fc.constantFrom<CallResult>('success', 'failure', 'failure', 'neutral')
const mode = fc.constantFrom<BreakerMode>('on', 'on', 'on', 'on', 'on', 'on', 'on', 'off')
const ms = fc.oneof(
  { weight: 3, arbitrary: fc.nat(1500) },
  { weight: 3, arbitrary: fc.constantFrom(4_999, 5_000, 9_999, 10_000) },
  { weight: 1, arbitrary: fc.constantFrom(29_899, 29_999, 30_000, 31_000, 1_800_000, 3_599_999, 3_600_000) },
)
const count = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 25 }))
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 160, arbitrary: fc.record({ do: fc.constant('calls' as const), webhookId, count, result, mode }) },
  { weight: 80, arbitrary: fc.record({ do: fc.constant('begin' as const), webhookId, count, mode }) },
  { weight: 80, arbitrary: fc.record({ do: fc.constant('end' as const), pick: fc.nat(1000), count, result }) },
  { weight: 120, arbitrary: fc.record({ do: fc.constant('wait' as const), ms }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constant('close' as const), webhookId }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crowd' as const) }) },
)

/** `toEqual` half a million times is most of the test's time. */
function expectSame(actual: readonly object[], expected: readonly object[]): void {
  if (actual.length > 0 || expected.length > 0) {
    if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected)
  }
}

class Run {
  readonly started = startGatekeeper()
  readonly model = new Model()
  readonly seen: Record<string, number>

  constructor(seen: Record<string, number>) {
    this.seen = seen
    this.model.now = this.started.clock.ms
  }

  take(step: Step): void {
    if (step.do === 'wait') {
      this.started.clock.ms += step.ms
      this.model.now += step.ms
    } else if (step.do === 'close') {
      this.started.gatekeeper.close(step.webhookId)
      this.model.closeByHand(step.webhookId)
    } else if (step.do === 'crowd') {
      for (const name of names) for (let i = 0; i < 53; i++) this.#begin(name, 'on')
    } else if (step.do === 'end') {
      for (let i = 0; i < step.count; i++) this.#end(this.model.held[step.pick % this.model.held.length], step.result)
    } else {
      for (let i = 0; i < step.count; i++) {
        const call = this.#begin(step.webhookId, step.mode)
        if (step.do === 'calls') this.#end(call, step.result)
      }
    }
    this.#compare()
  }

  #begin(webhookId: string, mode: BreakerMode): HeldCall | undefined {
    const workspaceId = workspaceOf(webhookId)
    const expected = this.model.admit(webhookId, workspaceId, mode)
    const admission = this.started.gatekeeper.admit(webhook(webhookId, workspaceId), mode)
    if (admission.kind !== expected) throw new Error(`${webhookId}: ${admission.kind} in place of ${expected}`)
    this.#note(admission.kind)
    if (admission.kind === 'breaker_open' || admission.kind === 'overloaded') return undefined
    const call = { webhookId, workspaceId, kind: admission.kind, age: this.model.of(webhookId).age, admission }
    this.model.hold(call)
    return call
  }

  #end(call: HeldCall | undefined, result: CallResult): void {
    if (call === undefined) return
    this.model.release(call, result)
    this.started.gatekeeper.release(webhook(call.webhookId, call.workspaceId), call.admission, result)
  }

  #compare(): void {
    const open = this.started.gatekeeper.open().map(({ webhookId, state, sinceMs }) => ({ webhookId, state, sinceMs }))
    const expected = [...this.model.webhooks].flatMap(([webhookId, { openedAt }]) => {
      const state = this.model.state(webhookId)
      if (state === 'closed' || openedAt === null) return []
      return [{ webhookId, state, sinceMs: state === 'open' ? openedAt : openedAt + 5_000 }]
    })
    const byWebhook = (a: { webhookId: string }, b: { webhookId: string }) => (a.webhookId < b.webhookId ? -1 : 1)
    expectSame(open.toSorted(byWebhook), expected.toSorted(byWebhook))
    const told = this.started.changes.splice(0)
    expectSame(told.toSorted(byWebhook), this.model.changes.splice(0).toSorted(byWebhook))
    for (const change of told)
      this.#note(change.to === 'half_open' ? 'to half_open' : `to ${change.to} by ${change.by}`)
  }

  #note(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1
  }
}

test('does as the model in any order of calls, ends, pauses, modes and closings by hand', () => {
  const seen: Record<string, number> = {}
  let sequences = 0
  const property = fc.property(fc.array(step, { minLength: 5, maxLength: 35, size: 'max' }), (steps) => {
    sequences += 1
    const run = new Run(seen)
    for (const step of steps) run.take(step)
  })
  const startedAt = performance.now()
  fc.assert(property, { numRuns: 10_000 })
  console.info(`${sequences} sequences in ${Math.round(performance.now() - startedAt)} ms: ${JSON.stringify(seen)}`)
  // What was never seen was not compared.
  const kinds = ['closed', 'probe', 'unguarded', 'breaker_open', 'overloaded', 'to half_open', 'to open by calls']
  const moves = ['to open by probe', 'to closed by probes', 'to closed by configuration', 'to closed by disuse']
  for (const what of [...kinds, ...moves]) expect(seen[what] ?? 0, what).toBeGreaterThan(100)
}, 90_000)
