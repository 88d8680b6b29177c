import { verifyFlowTokenSignature } from '../crypto/flow-token-signature.ts'
import { type Attempt, sendAttempt } from '../delivery/attempt.ts'
import type { Gatekeeper } from '../delivery/breaker.ts'
import { callResultOf } from '../delivery/failure.ts'
import { buildEnvelope } from '../domain/envelope.ts'
import { exchangeEvent } from '../domain/events.ts'
import type { ExchangeRequest } from '../domain/exchange.ts'
import { fallbackAnswer } from '../domain/fallback.ts'
import { type Flow, tellFlow } from '../domain/flow.ts'
import { afterCompletion, afterExchange, type FlowResponse, firstSeen } from '../domain/flow-response.ts'
import { newId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { completeScreen, type Reply, readReply } from '../domain/reply.ts'
import { chooseWebhook } from '../domain/webhook.ts'
import type { Dispatchers } from '../egress/dispatcher.ts'
import { type Outgoing, signRequest } from '../events/signed-request.ts'
import type { RelayWebhook } from './directory.ts'
import type { ExchangeLedger } from './ledger.ts'
import type { Session, Sessions } from './sessions.ts'

/** How an exchange ended: its outcome and the answer's plaintext (null: none of its own). */
export interface Ending {
  readonly outcome: Outcome
  readonly text: string | null
  readonly screen?: string | null
  readonly attempt?: Attempt
  /** The flow token's state after a relayed SUCCESS. */
  readonly completed?: FlowResponse
}

/** An exchange that a webhook is to answer. */
export interface Question {
  readonly ledger: ExchangeLedger
  readonly request: ExchangeRequest
  /** Meta's decrypted body: what a `plain` webhook gets. */
  readonly plaintext: Buffer
  readonly metaFlowId: string | null
}

export interface Forwarding {
  ask(question: Question): Promise<AnswerEnding>
}

/** An ending with an answer of its own. */
export type AnswerEnding = Ending & { readonly text: string }

export interface ForwardParts {
  readonly sessions: Sessions
  readonly dispatchers: Dispatchers
  readonly gatekeeper: Gatekeeper
  readonly platformAppSecrets: readonly string[]
  readonly deadlineMs: number
  readonly userAgent: string
}

/** Enriches an exchange, asks the webhook that answers it, and makes the answer of what came back. */
export function createForwarding(parts: ForwardParts): Forwarding {
  async function ask({ ledger, request, plaintext, metaFlowId }: Question): Promise<AnswerEnding> {
    const { account, id, now, watch } = ledger
    watch.skip()
    const session = await parts.sessions.load(account, request)
    watch.lap('enrich')
    const flow = tellFlow(account.flows, metaFlowId, session.flowResponse?.flowId ?? null, request.screen)
    const state = stateAfter(session, request, flow, now)
    const event = exchangeEvent(request.action)
    const { responder } = chooseWebhook(account.webhooks, event, flow?.id ?? null)
    const envelope = () =>
      buildEnvelope({
        id,
        workspaceId: account.workspaceId,
        wabaId: account.wabaId,
        now,
        request,
        flow,
        records: { ...session, flowResponse: session.found === 'late' ? null : state },
        tokenSignature: verifyFlowTokenSignature(request.tokenSignature, request.flowToken, [
          ...account.appSecrets(),
          ...parts.platformAppSecrets,
        ]),
      })
    const bytes = responder?.format === 'plain' ? plaintext : Buffer.from(envelope())
    ledger.open({
      flowId: flow?.id ?? null,
      clientId: session.client?.id ?? null,
      webhookId: responder?.id ?? null,
      envelope: bytes,
      flowResponse: state,
    })
    const ownScreen = request.screen ?? (request.action === 'init' ? (flow?.firstScreen ?? null) : null)
    const outgoing = { id, event, flowToken: request.flowToken, timestamp: now, bytes }
    const heard = responder === null ? nobody : await send(responder, outgoing, ledger)
    if (heard.kind === 'reply') return replied(heard.reply, ownScreen, heard.attempt, state)
    if (heard.kind === 'token_refused') return { outcome: 'token_refused', text: heard.text, attempt: heard.attempt }
    const text = fallbackAnswer(responder?.fallback ?? null, request.screen, ownScreen, session.memory)
    return { outcome: heard.outcome, text, ...(heard.attempt ? { attempt: heard.attempt } : {}) }
  }

  async function send(webhook: RelayWebhook, outgoing: Outgoing, { account, watch }: ExchangeLedger): Promise<Heard> {
    const deadlineMs = webhook.timeoutMs ?? parts.deadlineMs
    const request = signRequest(webhook, outgoing, { deadlineMs, userAgent: parts.userAgent, sentAt: new Date() })
    const admission = parts.gatekeeper.admit(webhook.id, account.workspaceId, webhook.breakerMode)
    if (admission.kind === 'breaker_open' || admission.kind === 'overloaded')
      return { kind: 'none', outcome: admission.kind }
    watch.skip()
    const attempt = await sendAttempt(parts.dispatchers, request)
    watch.lap('webhook')
    parts.gatekeeper.release(webhook.id, account.workspaceId, admission, callResultOf(attempt))
    return judge(attempt)
  }

  return { ask }
}

/** What came back from a webhook. */
type Heard =
  | { readonly kind: 'reply'; readonly reply: Reply; readonly attempt: Attempt }
  | { readonly kind: 'token_refused'; readonly text: string; readonly attempt: Attempt }
  | { readonly kind: 'none'; readonly outcome: Outcome; readonly attempt?: Attempt }

const nobody: Heard = { kind: 'none', outcome: 'no_webhook' }

function judge(attempt: Attempt): Heard {
  if (attempt.failure !== null) return { kind: 'none', outcome: attempt.failure, attempt }
  const read = readReply(attempt.status ?? 0, attempt.body ?? Buffer.alloc(0))
  return read.kind === 'problem' ? { kind: 'none', outcome: read.problem, attempt } : { ...read, attempt }
}

function replied(reply: Reply, ownScreen: string | null, attempt: Attempt, state: FlowResponse | null): AnswerEnding {
  const screen = reply.screen ?? ownScreen
  const ending = { outcome: 'replied', text: completeScreen(reply, ownScreen), screen, attempt } as const
  return screen === 'SUCCESS' && state !== null ? { ...ending, completed: afterCompletion(state, new Date()) } : ending
}

/** The token's state with this exchange counted; null for tokens that make no row. */
function stateAfter(session: Session, request: ExchangeRequest, flow: Flow | null, now: Date): FlowResponse | null {
  if (request.flowToken === null || session.found === 'nothing') return null
  const flowId = flow?.id ?? null
  if (session.flowResponse !== null) return afterExchange(session.flowResponse, flowId, now)
  return firstSeen(newId('flowResponse'), request.flowToken, flowId, now)
}
