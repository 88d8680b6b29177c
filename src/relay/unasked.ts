import { exchangeEvent } from '../domain/events.ts'
import type { ExchangeRequest } from '../domain/exchange.ts'
import { fallbackAnswer, noMemory } from '../domain/fallback.ts'
import { tellFlow } from '../domain/flow.ts'
import { chooseWebhook } from '../domain/webhook.ts'
import type { AnswerEnding } from './ending.ts'
import { type ExchangeLedger, noRecords } from './ledger.ts'

export interface UnaskedExchange {
  readonly ledger: ExchangeLedger
  readonly request: ExchangeRequest
  readonly metaFlowId: string | null
}

/**
 * The end of an exchange that is not put to its webhook, because Relevo has too much to do or the call nests too deep: from memory alone, so no session is
 * read or moved and nobody is told of it. The webhook's fallback, as far as it needs no earlier answer.
 */
export function unaskedEnding(
  { ledger, request, metaFlowId }: UnaskedExchange,
  end: Pick<AnswerEnding, 'outcome' | 'reason'>,
): AnswerEnding {
  const { flows, webhooks } = ledger.account
  const flow = tellFlow(flows, metaFlowId, null, request.screen)
  const { responder } = chooseWebhook(webhooks, exchangeEvent(request.action), flow?.id ?? null)
  // The flow token's session may name a flow that another webhook answers for.
  const isSure = flow !== null || webhooks.every(({ flowIds }) => flowIds === null)
  const ownScreen = request.screen ?? (request.action === 'init' ? (flow?.firstScreen ?? null) : null)
  const text = fallbackAnswer(isSure ? (responder?.fallback ?? null) : null, request.screen, ownScreen, noMemory)
  const known = { flowToken: request.flowToken, flow, records: noRecords }
  ledger.learn({ known, webhookId: isSure ? (responder?.id ?? null) : null })
  return { ...end, text }
}
