import { type BreakerMode, type BreakerState, timeoutMsRange } from '../domain/webhook.ts'
import { CallWindow } from './call-window.ts'

/** `neutral`: says nothing about the webhook (our own fault, or nothing was sent). */
export type CallResult = 'success' | 'failure' | 'neutral'

/** A call that may be made. `unguarded`: past a breaker that is off. */
export interface Admitted {
  readonly kind: 'closed' | 'probe' | 'unguarded'
  /** What the breaker was doing when the call began: its end counts for that alone. */
  readonly phase: CallWindow | Outage
}
export type Admission = Admitted | { readonly kind: 'breaker_open' | 'overloaded' }

/** What happened to a breaker. Opening: `calls` in the window, `failed` of them. Closing: `openMs` since it opened first, exchanges `refused` meanwhile. */
export type BreakerChange =
  | { readonly to: 'open'; readonly by: 'calls'; readonly calls: number; readonly failed: number }
  | { readonly to: 'open'; readonly by: 'probe' }
  | { readonly to: 'half_open' }
  | { readonly to: 'closed'; readonly by: Closing; readonly openMs: number; readonly refused: number }
type Closing = 'probes' | 'configuration' | 'disuse'

// contract.md §3 "Breaker and bounds"
const minCalls = 20
const openMs = 5_000
const probesToClose = 5
const maxInFlight = 64
/** A probe that has not ended so long after the longest deadline never will: the next exchange is one in its place. */
const probeLostMs = timeoutMsRange.max + 2_000
/** A breaker that is not closed is kept this long without calls: the next call is to be a probe, but not for ever. */
const keepOpenMs = 3_600_000
/** A closed one that nobody called for longer has an empty window. */
const keepClosedMs = 31_000

/** The time from an opening to the next opening or to the closing. */
class Outage {
  readonly openedAt: number
  /** Of the first of the openings that no closing parts. */
  readonly firstOpenedAt: number
  refused: number
  successes = 0
  probe: { readonly admission: Admitted; readonly lostAt: number } | null = null
  hasProbed = false

  constructor(at: number, before: Outage | null) {
    this.openedAt = at
    this.firstOpenedAt = before?.firstOpenedAt ?? at
    this.refused = before?.refused ?? 0
  }

  get probesFrom(): number {
    return this.openedAt + openMs
  }

  isProbing(at: number): boolean {
    return this.probe !== null && at < this.probe.lostAt
  }
}

/** One webhook's breaker and its calls in flight. All times in ms of one monotonic clock. */
export class Breaker {
  readonly #report: (change: BreakerChange) => void
  #phase: CallWindow | Outage = new CallWindow()
  /** No call began in this phase that counts in it: there is nothing to forget. */
  #isFresh = true
  #inFlight = 0
  #usedAt = 0

  constructor(report: (change: BreakerChange) => void) {
    this.#report = report
  }

  state(at: number): BreakerState {
    this.#closeIfDisused(at)
    if (this.#phase instanceof CallWindow) return 'closed'
    return at < this.#phase.probesFrom ? 'open' : 'half_open'
  }

  /** Since when it is in its state; null while closed. */
  since(at: number): number | null {
    const phase = this.#phase
    if (phase instanceof CallWindow) return null
    return at < phase.probesFrom ? phase.openedAt : phase.probesFrom
  }

  admit(at: number, mode: BreakerMode, hasRoomInWorkspace: boolean): Admission {
    this.#closeIfDisused(at)
    this.#usedAt = at
    if (mode === 'off') this.close(at, 'configuration')
    const phase = this.#phase
    if (phase instanceof Outage && (at < phase.probesFrom || phase.isProbing(at))) {
      phase.refused += 1
      return { kind: 'breaker_open' }
    }
    if (this.#inFlight >= maxInFlight || !hasRoomInWorkspace) return { kind: 'overloaded' }
    this.#inFlight += 1
    if (phase instanceof Outage) return this.#probe(at, phase)
    if (mode === 'off') return { kind: 'unguarded', phase }
    this.#isFresh = false
    return { kind: 'closed', phase }
  }

  /** Once for every call that was admitted. Ends of calls that began before the last change of phase are old news. */
  release(at: number, admission: Admitted, result: CallResult): void {
    this.#usedAt = at
    this.#inFlight -= 1
    const phase = this.#phase
    if (admission.phase !== phase) return
    if (phase instanceof Outage) this.#judge(at, phase, admission, result)
    else if (admission.kind === 'closed' && result !== 'neutral') this.#count(at, phase, result)
  }

  /** Its calls are forgotten; what is in flight still takes its place and says nothing any more. */
  close(at: number, by: Closing): void {
    if (this.#isFresh) return
    const phase = this.#phase
    this.#phase = new CallWindow()
    this.#isFresh = true
    if (phase instanceof CallWindow) return
    this.#report({ to: 'closed', by, openMs: at - phase.firstOpenedAt, refused: phase.refused })
  }

  /** Whether a new breaker would do the same. */
  isForgettable(at: number): boolean {
    return this.#inFlight === 0 && this.state(at) === 'closed' && at - this.#usedAt >= keepClosedMs
  }

  #probe(at: number, outage: Outage): Admitted {
    const admission = { kind: 'probe', phase: outage } as const
    outage.probe = { admission, lostAt: at + probeLostMs }
    if (!outage.hasProbed) this.#report({ to: 'half_open' })
    outage.hasProbed = true
    return admission
  }

  #count(at: number, window: CallWindow, result: 'success' | 'failure'): void {
    const { total, failed } = window.add(at, result)
    if (total < minCalls || failed * 2 < total) return
    this.#phase = new Outage(at, null)
    this.#report({ to: 'open', by: 'calls', calls: total, failed })
  }

  /** A neutral probe only makes room for the next. */
  #judge(at: number, outage: Outage, admission: Admitted, result: CallResult): void {
    // One that was given up as lost and ended all the same.
    if (outage.probe?.admission !== admission) return
    outage.probe = null
    if (result === 'failure') {
      this.#phase = new Outage(at, outage)
      this.#report({ to: 'open', by: 'probe' })
    } else if (result === 'success') {
      outage.successes += 1
      if (outage.successes >= probesToClose) this.close(at, 'probes')
    }
  }

  #closeIfDisused(at: number): void {
    const isDisused = this.#inFlight === 0 && at - this.#usedAt >= keepOpenMs
    if (isDisused && this.#phase instanceof Outage) this.close(at, 'disuse')
  }
}
