import { verifyFlowTokenSignature } from '../crypto/flow-token-signature.ts'
import { type Attempt, sendAttempt } from '../delivery/attempt.ts'
import type { CallResult } from '../delivery/breaker.ts'
import { callResultOf } from '../delivery/failure.ts'
import type { Gatekeeper } from '../delivery/gatekeeper.ts'
import type { LateListeners } from '../delivery/late-listeners.ts'
import { buildEnvelope } from '../domain/envelope.ts'
import { exchangeEvent } from '../domain/events.ts'
import type { ExchangeRequest } from '../domain/exchange.ts'
import { fallbackAnswer } from '../domain/fallback.ts'
import { type Flow, tellFlow } from '../domain/flow.ts'
import { afterCompletion, afterExchange, type FlowResponse, firstSeen, isClosed } from '../domain/flow-response.ts'
import { newId } from '../domain/ids.ts'
import type { Outcome } from '../domain/outcome.ts'
import { completeScreen, type Reply, readReply } from '../domain/reply.ts'
import { chooseWebhook } from '../domain/webhook.ts'
import type { Dispatchers } from '../egress/dispatcher.ts'
import { type Outgoing, signRequest } from '../events/signed-request.ts'
import { once } from '../events/webhook-signing.ts'
import { stepSpanId } from '../ops/trace-ids.ts'
import type { Traces } from '../ops/traces.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { Announcer } from './announcer.ts'
import type { RelayWebhook } from './directory.ts'
import type { AnswerEnding } from './ending.ts'
import type { ExchangeLedger } from './ledger.ts'
import type { Session, Sessions } from './sessions.ts'
import { WebhookTimes } from './webhook-times.ts'

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

export interface ForwardParts {
  readonly sessions: Sessions
  readonly dispatchers: Dispatchers
  readonly gatekeeper: Gatekeeper
  readonly announcer: Announcer
  readonly lateListeners: LateListeners
  /** Null or left out: off. */
  readonly traces?: Traces | null
  readonly platformAppSecrets: readonly string[]
  readonly deadlineMs: number
  readonly userAgent: string
}

/** An exchange with all that is known of it before a webhook is asked. */
interface Prepared {
  readonly session: Session
  readonly flow: Flow | null
  /** The flow token's state with this exchange counted; null for tokens that make no row. */
  readonly state: FlowResponse | null
  /** The same as webhooks are shown it; null past the budget. */
  readonly shown: FlowResponse | null
  readonly responder: RelayWebhook | null
  /** What is sent, and recorded as sent. */
  readonly bytes: Buffer
  /** For those who are told of the exchange and not asked. */
  readonly deliveries: readonly NewDelivery[]
  /** Why this flow token is not served, in words for the person; null: it is. */
  readonly refusal: string | null
}

/** Enriches an exchange, asks the webhook that answers it, and makes the answer of what came back. */
export function createForwarding(parts: ForwardParts): Forwarding {
  const webhookTimes = new WebhookTimes()

  async function ask(question: Question): Promise<AnswerEnding> {
    const { ledger, request } = question
    const prepared = await prepare(question)
    const { session, flow, state, shown, responder, bytes, deliveries, refusal } = prepared
    ledger.learn({
      known: { flowToken: request.flowToken, flow, records: { ...session, flowResponse: shown } },
      webhookId: refusal === null ? (responder?.id ?? null) : null,
      envelope: bytes,
      flowResponse: state,
      deliveries,
      patienceMs: responder?.timeoutMs ?? parts.deadlineMs,
    })
    // protocol.md 1.7: 427 shows the text and closes the message's button.
    if (refusal !== null) return { outcome: 'token_refused', text: JSON.stringify({ error_msg: refusal }) }
    const event = exchangeEvent(request.action)
    const outgoing = { id: ledger.id, event, resourceId: request.flowToken, timestamp: ledger.now, bytes }
    return endingOf(responder === null ? nobody : await send(responder, outgoing, ledger), prepared, request)
  }

  async function prepare({ ledger, request, plaintext, metaFlowId }: Question): Promise<Prepared> {
    const { account, id, now, watch } = ledger
    const { workspaceId, wabaId, webhooks } = account
    watch.skip()
    const session = await parts.sessions.load(account, request)
    watch.lap('enrich')
    const flow = tellFlow(account.flows, metaFlowId, session.flowResponse?.flowId ?? null, request.screen)
    const state = stateAfter(session, request, flow, now)
    const shown = session.found === 'late' ? null : state
    const event = exchangeEvent(request.action)
    const { responder, observers } = chooseWebhook(webhooks, event, flow?.id ?? null)
    const appSecrets = [...account.appSecrets(), ...parts.platformAppSecrets]
    const tokenSignature = verifyFlowTokenSignature(request.tokenSignature, request.flowToken, appSecrets)
    const records = { ...session, flowResponse: shown }
    const envelope = once(() =>
      Buffer.from(buildEnvelope({ id, workspaceId, wabaId, now, request, flow, records, tokenSignature })),
    )
    const bytes = responder?.format === 'plain' ? plaintext : envelope()
    // Who signs at all must sign right, however old the flow.
    const isWanting =
      tokenSignature === 'invalid' || (tokenSignature === 'absent' && !isBeforeSignatures(flow, request))
    const isUnsigned = account.requireTokenSignature && isWanting
    const refusal = isUnsigned ? unsignedText : closedText(flow, state, now)
    // Nobody is told of what nobody is asked.
    const told = refusal === null && observers.length > 0 ? observers : []
    const about = { workspaceId, id, event, now, resourceId: request.flowToken, clientId: session.client?.id ?? null }
    const announce = () => ({ ...about, flowId: flow?.id ?? null, envelope: envelope(), plain: plaintext })
    const deliveries = told.length === 0 ? [] : parts.announcer.observed(told, announce())
    // An unsigned token may be somebody else's: it neither makes nor moves a row.
    return { session, flow, state: isUnsigned ? null : state, shown, responder, bytes, deliveries, refusal }
  }

  async function send(webhook: RelayWebhook, outgoing: Outgoing, ledger: ExchangeLedger): Promise<Heard> {
    const guarded = { webhookId: webhook.id, workspaceId: ledger.account.workspaceId }
    const admission = parts.gatekeeper.admit(guarded, webhook.breakerMode)
    if (admission.kind === 'breaker_open' || admission.kind === 'overloaded')
      return { kind: 'none', outcome: admission.kind }
    let result: CallResult = 'neutral'
    try {
      ledger.open(webhookTimes.of(webhook))
      const attempt = await attemptOf(webhook, outgoing, ledger)
      result = callResultOf(attempt)
      return judge(attempt)
    } finally {
      // Whatever is thrown: a place that is not given back is lost to the webhook until the process ends.
      parts.gatekeeper.release(guarded, admission, result)
    }
  }

  async function attemptOf(webhook: RelayWebhook, outgoing: Outgoing, ledger: ExchangeLedger): Promise<Attempt> {
    const request = signRequest(webhook, outgoing, {
      deadlineMs: webhook.timeoutMs ?? parts.deadlineMs,
      userAgent: parts.userAgent,
      sentAt: new Date(),
      attempt: 1,
      isAnswerAwaited: true,
      traceparent: parts.traces?.traceparent(ledger.id, stepSpanId(ledger.id, 'webhook')),
    })
    ledger.watch.skip()
    const late = { listeners: parts.lateListeners, came: (ms: number) => ledger.late(ms) }
    const attempt = await sendAttempt(parts.dispatchers, request, late)
    ledger.watch.lap('webhook')
    webhookTimes.add(webhook, attempt.durationMs)
    return attempt
  }

  return { ask }
}

/** protocol.md 2.4: 427 is the fitting code for a flow token that is not vouched for. */
const unsignedText = 'This form cannot be used. Please ask for a new one.'

function closedText(flow: Flow | null, state: FlowResponse | null, now: Date): string | null {
  return flow?.refuseClosedTokens && state !== null && isClosed(state, now) ? flow.refuseClosedTokens.message : null
}

/** Phones sign flow tokens from data API 4.0 on; of a flow that is known to be older, and whose phone does not say otherwise, nothing can be asked. */
function isBeforeSignatures(flow: Flow | null, { version }: ExchangeRequest): boolean {
  return Number.parseFloat(flow?.dataApiVersion ?? '') < 4 && !(Number.parseFloat(version ?? '') >= 4)
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
  return reply.screen === 'SUCCESS' && state !== null
    ? { ...ending, completed: afterCompletion(state, new Date()) }
    : ending
}

function endingOf(heard: Heard, { session, flow, state, responder }: Prepared, request: ExchangeRequest): AnswerEnding {
  const ownScreen = request.screen ?? (request.action === 'init' ? (flow?.firstScreen ?? null) : null)
  if (heard.kind === 'reply') return replied(heard.reply, ownScreen, heard.attempt, state)
  if (heard.kind === 'token_refused') return { outcome: 'token_refused', text: heard.text, attempt: heard.attempt }
  const text = fallbackAnswer(responder?.fallback ?? null, request.screen, ownScreen, session.memory)
  return { outcome: heard.outcome, text, ...(heard.attempt ? { attempt: heard.attempt } : {}) }
}

function stateAfter(session: Session, request: ExchangeRequest, flow: Flow | null, now: Date): FlowResponse | null {
  if (request.flowToken === null || session.found === 'nothing') return null
  const flowId = flow?.id ?? null
  if (session.flowResponse !== null) return afterExchange(session.flowResponse, flowId, now)
  return firstSeen(newId('flowResponse'), request.flowToken, flowId, now)
}
