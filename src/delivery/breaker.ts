import { CallWindow } from './call-window.ts'

export type Admission = { readonly kind: 'closed' | 'probe' } | { readonly kind: 'breaker_open' | 'overloaded' }
export type BreakerMode = 'on' | 'off'
export type BreakerState = 'closed' | 'open' | 'half_open'
/** `neutral`: says nothing about the webhook (our own fault, or nothing was sent). */
export type CallResult = 'success' | 'failure' | 'neutral'

/** Per process: who may be called now. Every `closed` or `probe` admission must be released exactly once, the others need not be. */
export interface Gatekeeper {
  admit(webhookId: string, workspaceId: string, breakerMode: BreakerMode): Admission
  release(webhookId: string, workspaceId: string, admission: Admission, result: CallResult): void
  state(webhookId: string): BreakerState
  /** The breaker closes and its calls are forgotten; what is in flight still counts. For `close-breaker` and deleted webhooks. */
  forget(webhookId: string): void
}

// contract.md §3 "Breaker and bounds"
const minCalls = 20
const openMs = 5_000
const probesToClose = 5
const maxPerWebhook = 64
const maxPerWorkspace = 512
/** A breaker that is not closed is kept this long without calls: the next call is to be a probe, but not for ever. */
const keepOpenMs = 3_600_000
const sweepEveryMs = 30_000

/** `now`: monotonic, in ms. */
export function createGatekeeper(options: { now: () => number }): Gatekeeper {
  const { now } = options
  const webhooks = new Map<string, Breaker>()
  const inFlightByWorkspace = new Map<string, number>()
  let sweptAt = now()

  /** Webhooks that stopped being called would otherwise stay for ever; once in 30 s a walk over them is nothing. */
  const sweep = (at: number): void => {
    if (at - sweptAt < sweepEveryMs) return
    sweptAt = at
    for (const [webhookId, breaker] of webhooks) if (breaker.isForgettable(at)) webhooks.delete(webhookId)
  }

  const breakerOf = (webhookId: string): Breaker => {
    const known = webhooks.get(webhookId)
    if (known !== undefined) return known
    const breaker = new Breaker()
    webhooks.set(webhookId, breaker)
    return breaker
  }

  const releaseWorkspace = (workspaceId: string): void => {
    const left = (inFlightByWorkspace.get(workspaceId) ?? 1) - 1
    if (left > 0) inFlightByWorkspace.set(workspaceId, left)
    else inFlightByWorkspace.delete(workspaceId)
  }

  return {
    admit(webhookId, workspaceId, breakerMode) {
      const at = now()
      sweep(at)
      const breaker = breakerOf(webhookId)
      const inWorkspace = inFlightByWorkspace.get(workspaceId) ?? 0
      const kind = breaker.admit(at, breakerMode, inWorkspace < maxPerWorkspace)
      if (kind === 'closed' || kind === 'probe') inFlightByWorkspace.set(workspaceId, inWorkspace + 1)
      return { kind }
    },
    release(webhookId, workspaceId, admission, result) {
      if (admission.kind !== 'closed' && admission.kind !== 'probe') return
      releaseWorkspace(workspaceId)
      webhooks.get(webhookId)?.release(now(), admission.kind, result)
    },
    state: (webhookId) => webhooks.get(webhookId)?.state(now()) ?? 'closed',
    forget: (webhookId) => webhooks.get(webhookId)?.close(),
  }
}

/** One webhook's breaker and its calls in flight. */
class Breaker {
  readonly #calls = new CallWindow()
  #inFlight = 0
  /** Null while closed; half open from this time on. */
  #openUntil: number | null = null
  #isProbing = false
  #probeSuccesses = 0
  #mode: BreakerMode = 'on'
  #usedAt = 0

  state(at: number): BreakerState {
    if (this.#openUntil === null) return 'closed'
    return at < this.#openUntil ? 'open' : 'half_open'
  }

  admit(at: number, mode: BreakerMode, hasRoomInWorkspace: boolean): Admission['kind'] {
    this.#usedAt = at
    this.#mode = mode
    if (mode === 'off') this.close()
    const state = this.state(at)
    if (state === 'open' || (state === 'half_open' && this.#isProbing)) return 'breaker_open'
    if (this.#inFlight >= maxPerWebhook || !hasRoomInWorkspace) return 'overloaded'
    this.#inFlight += 1
    if (state === 'closed') return 'closed'
    this.#isProbing = true
    return 'probe'
  }

  release(at: number, kind: 'closed' | 'probe', result: CallResult): void {
    this.#usedAt = at
    this.#inFlight -= 1
    if (kind === 'probe') this.#isProbing = false
    if (result === 'neutral' || this.#mode === 'off') return
    // A call admitted while the breaker was closed and ending after it opened is old news: only probes judge then.
    if (this.#openUntil === null) this.#count(at, result)
    else if (kind === 'probe') this.#judgeProbe(at, result)
  }

  close(): void {
    this.#openUntil = null
    this.#probeSuccesses = 0
    this.#calls.clear()
  }

  isForgettable(at: number): boolean {
    if (this.#inFlight > 0) return false
    const idleMs = at - this.#usedAt
    return this.#openUntil === null ? idleMs >= sweepEveryMs : idleMs >= keepOpenMs
  }

  #count(at: number, result: 'success' | 'failure'): void {
    this.#calls.add(at, result)
    const { total, failed } = this.#calls.count(at)
    if (total >= minCalls && failed * 2 >= total) this.#open(at)
  }

  #judgeProbe(at: number, result: 'success' | 'failure'): void {
    this.#probeSuccesses += 1
    if (result === 'failure') this.#open(at)
    else if (this.#probeSuccesses >= probesToClose) this.close()
  }

  #open(at: number): void {
    this.#openUntil = at + openMs
    this.#probeSuccesses = 0
    this.#calls.clear()
  }
}
