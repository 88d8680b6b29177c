import type { WorkspaceId } from '../domain/ids.ts'
import { type BreakerMode, type BreakerState, breakerStates } from '../domain/webhook.ts'
import { YoungMap } from '../ops/young.ts'
import { type Admission, Breaker, type BreakerChange, type CallResult } from './breaker.ts'

export interface GuardedWebhook {
  readonly webhookId: string
  readonly workspaceId: WorkspaceId
}

/** A breaker that does not let all calls through. */
export interface OpenBreaker extends GuardedWebhook {
  readonly state: Exclude<BreakerState, 'closed'>
  /** Since when it is in this state, ms of the gatekeeper's clock. */
  readonly sinceMs: number
}

/** Told of what happens, while an exchange waits: must not throw or take time. */
export interface GatekeeperObserver {
  changed(webhook: GuardedWebhook, change: BreakerChange): void
  probed(result: CallResult): void
}

/** Per process: who may be called now. Every admission that lets a call through must be released exactly once, the others need not be. */
export interface Gatekeeper {
  admit(webhook: GuardedWebhook, breakerMode: BreakerMode): Admission
  release(webhook: GuardedWebhook, admission: Admission, result: CallResult): void
  /** The breaker closes and its calls are forgotten; what is in flight still takes its place. For `close-breaker`, breakers put off, deleted webhooks. */
  close(webhookId: string): void
  /** Every breaker that is not closed. */
  open(): OpenBreaker[]
  /** Of the webhooks that were called lately. */
  count(): Record<BreakerState, number>
}

interface Guarded extends GuardedWebhook {
  readonly breaker: Breaker
}

// contract.md §3 "Breaker and bounds"
const maxPerWorkspace = 512
const sweepEveryMs = 30_000

/** `now`: monotonic, in ms. */
export function createGatekeeper(options: { now: () => number; observer: GatekeeperObserver }): Gatekeeper {
  const { now, observer } = options
  const webhooks = new Map<string, Guarded>()
  const inFlightByWorkspace = new YoungMap<WorkspaceId, number>()
  let sweptAt = now()

  /** Webhooks that stopped being called would otherwise stay for ever; once in 30 s a walk over them is nothing. */
  const sweep = (at: number): void => {
    if (at - sweptAt < sweepEveryMs) return
    sweptAt = at
    for (const [webhookId, { breaker }] of webhooks) if (breaker.isForgettable(at)) webhooks.delete(webhookId)
  }

  const breakerOf = ({ webhookId, workspaceId }: GuardedWebhook): Breaker => {
    const known = webhooks.get(webhookId)
    if (known !== undefined) return known.breaker
    const webhook = { webhookId, workspaceId }
    const breaker = new Breaker((change) => observer.changed(webhook, change))
    webhooks.set(webhookId, { ...webhook, breaker })
    return breaker
  }

  const releaseWorkspace = (workspaceId: WorkspaceId): void => {
    const left = (inFlightByWorkspace.get(workspaceId) ?? 1) - 1
    if (left > 0) inFlightByWorkspace.set(workspaceId, left)
    else inFlightByWorkspace.delete(workspaceId)
  }

  return {
    admit(webhook, breakerMode) {
      const at = now()
      sweep(at)
      const inWorkspace = inFlightByWorkspace.get(webhook.workspaceId) ?? 0
      const admission = breakerOf(webhook).admit(at, breakerMode, inWorkspace < maxPerWorkspace)
      if (isAdmitted(admission)) inFlightByWorkspace.set(webhook.workspaceId, inWorkspace + 1)
      return admission
    },
    release({ webhookId, workspaceId }, admission, result) {
      if (!isAdmitted(admission)) return
      releaseWorkspace(workspaceId)
      if (admission.kind === 'probe') observer.probed(result)
      webhooks.get(webhookId)?.breaker.release(now(), admission, result)
    },
    close: (webhookId) => webhooks.get(webhookId)?.breaker.close(now(), 'configuration'),
    open() {
      const at = now()
      return [...webhooks.values()].flatMap(({ webhookId, workspaceId, breaker }) => {
        const state = breaker.state(at)
        return state === 'closed' ? [] : [{ webhookId, workspaceId, state, sinceMs: breaker.since(at) ?? at }]
      })
    },
    count() {
      const at = now()
      const states = [...webhooks.values()].map(({ breaker }) => breaker.state(at))
      const ofState = (state: BreakerState) => states.filter((it) => it === state).length
      return Object.fromEntries(breakerStates.map((state) => [state, ofState(state)])) as Record<BreakerState, number>
    },
  }
}

function isAdmitted(admission: Admission): admission is Exclude<Admission, { kind: 'breaker_open' | 'overloaded' }> {
  return admission.kind !== 'breaker_open' && admission.kind !== 'overloaded'
}
