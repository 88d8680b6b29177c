import type { Admission, BreakerChange, CallResult } from '../../../src/delivery/breaker.ts'
import { createGatekeeper, type Gatekeeper } from '../../../src/delivery/gatekeeper.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import type { BreakerMode, BreakerState } from '../../../src/domain/webhook.ts'

export type Told = { readonly webhookId: string } & BreakerChange

/** A gatekeeper on a clock of its own, and all that it told. */
export function startGatekeeper() {
  const clock = { ms: 5_000_000 }
  const changes: Told[] = []
  const probes: CallResult[] = []
  const gatekeeper = createGatekeeper({
    now: () => clock.ms,
    observer: {
      changed: ({ webhookId }, change) => void changes.push({ webhookId, ...change }),
      probed: (result) => void probes.push(result),
    },
  })
  return { clock, changes, probes, gatekeeper }
}

export const webhook = (webhookId = 'wh_1', workspaceId = 'ws_1') => ({
  webhookId,
  workspaceId: workspaceId as WorkspaceId,
})

export function stateOf(gatekeeper: Gatekeeper, webhookId = 'wh_1'): BreakerState {
  return gatekeeper.open().find((it) => it.webhookId === webhookId)?.state ?? 'closed'
}

/** The calls of one webhook on a gatekeeper of its own. */
export function start() {
  const started = startGatekeeper()
  const { gatekeeper } = started
  const admit = (webhookId?: string, workspaceId?: string, mode: BreakerMode = 'on'): Admission =>
    gatekeeper.admit(webhook(webhookId, workspaceId), mode)
  const release = (admission: Admission, result: CallResult, webhookId?: string, workspaceId?: string): void =>
    gatekeeper.release(webhook(webhookId, workspaceId), admission, result)
  const call = (result: CallResult, webhookId?: string, workspaceId?: string): Admission['kind'] => {
    const admission = admit(webhookId, workspaceId)
    release(admission, result, webhookId, workspaceId)
    return admission.kind
  }
  const calls = (count: number, result: CallResult): void => {
    for (let i = 0; i < count; i++) call(result)
  }
  const state = (webhookId?: string) => stateOf(gatekeeper, webhookId)
  return { ...started, admit, release, call, calls, state }
}
