import { z } from 'zod'
import { outcomeNames } from '../domain/outcome.ts'
import {
  type ExchangeFilter,
  type ExchangeSummary,
  findExchange,
  listExchanges,
  type RecordedExchange,
} from '../storage/exchange-log.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleExchangeId, exampleId, exampleList, exampleTime, exampleWabaId } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { iso, isoTime, reference, since, text, until, uuidPattern } from './fields.ts'
import { cutInLists, listOf, pageMembers } from './list.ts'
import { isEmptyLog, logPageOf, pageMayBeShort } from './log-page.ts'
import { ok, workspaceOperation } from './operation.ts'
import { jsonOrText, sentBody } from './sent-body.ts'

const ms = z.number().nullable()

const exchangeBody = z.object({
  id: z.string(),
  createdAt: isoTime,
  wabaId: z.string(),
  event: z.string().nullable(),
  action: z.string().nullable().describe(cutInLists),
  screen: z.string().nullable().describe(cutInLists),
  outcome: z.enum(outcomeNames).nullable(),
  reason: z
    .string()
    .nullable()
    .describe(
      '`interrupted` where the process died before the end was written; `waited` or `in_flight` where Relevo itself had too much to do to ask the webhook; else null',
    ),
  flowToken: z.string().nullable().describe(cutInLists),
  flowId: z.string().nullable(),
  clientId: z.string().nullable(),
  webhookId: z.string().nullable(),
  durationMs: ms,
  webhookMs: ms,
  lateReplyMs: ms.describe(
    'for `timeout`: how long after its request the webhook answered all the same; null where no answer was heard within 5 s more, or 8 of its others were listened for already',
  ),
})

const wholeExchangeBody = exchangeBody.extend({
  envelope: z
    .unknown()
    .describe(
      'what the webhook was sent, or would have been: the envelope, or the text where it is none (`format: "plain"`); null for calls that are no exchange, and once emptied',
    ),
  reply: z.unknown().describe('what Meta was answered, before encryption'),
  attempt: z
    .object({
      status: z.int().nullable(),
      failure: z.string().nullable(),
      durationMs: z.number(),
      connectMs: ms,
      headMs: ms,
      bytes: z.int(),
    })
    .nullable(),
  timings: z.object({ verify: ms, decrypt: ms, enrich: ms, webhook: ms, encrypt: ms, total: ms }).nullable(),
})

const example = {
  id: exampleExchangeId,
  createdAt: exampleTime,
  wabaId: exampleWabaId,
  event: 'whatsapp.flows.init',
  action: 'init',
  screen: null,
  outcome: 'replied' as const,
  reason: null,
  flowToken: 'offer-2026-05-0001',
  flowId: exampleId('flow'),
  clientId: exampleId('client'),
  webhookId: exampleId('webhook'),
  durationMs: 84.2,
  webhookMs: 79.6,
  lateReplyMs: null,
}

function bodyOf(exchange: ExchangeSummary): z.input<typeof exchangeBody> {
  return { ...exchange, createdAt: iso(exchange.createdAt) }
}

function wholeBodyOf(exchange: RecordedExchange): z.input<typeof wholeExchangeBody> {
  return {
    ...bodyOf(exchange),
    envelope: sentBody(exchange.id, exchange.envelope),
    reply: jsonOrText(exchange.answer?.toString('utf8') ?? null),
    attempt: exchange.attempt,
    timings: exchange.timings,
  }
}

const filter = {
  outcome: z.enum(outcomeNames).optional(),
  flowToken: text(4096).optional(),
  flowId: reference.optional(),
  webhookId: reference.optional(),
  since: since.optional(),
  until: until.optional(),
}

export const list = workspaceOperation({
  summary: 'List exchanges: the calls from Meta and how each ended',
  description: pageMayBeShort,
  example: { query: { outcome: example.outcome, limit: 20 }, answer: ok(exampleList(example)) },
  query: z.strictObject({ ...pageMembers(uuidPattern), ...filter }),
  response: { 200: listOf(exchangeBody) },
  async handle({ deps, workspaceId, query }) {
    const wanted: ExchangeFilter = query
    const load = (page: Page) => listExchanges(deps.database, workspaceId, page, wanted)
    const body = await logPageOf(query, load, bodyOf)
    // Exchanges outlive the flow and the webhook they name, so the ids are looked up only where nothing was found.
    const { flowId, webhookId } = query
    if (isEmptyLog(query, body)) await requireNamed(deps.database, workspaceId, { flowId, webhookId })
    return ok(body)
  },
})

export const get = workspaceOperation({
  summary: 'Read an exchange, with what was sent and answered',
  example: {
    params: { id: example.id },
    answer: ok({
      ...example,
      envelope: { id: example.id, event: example.event, '…': '…' },
      reply: { screen: 'OFFER', data: {} },
      attempt: { status: 200, failure: null, durationMs: 79.6, connectMs: 12.1, headMs: 79.1, bytes: 30 },
      timings: { verify: 0.1, decrypt: 0.4, enrich: 2.2, webhook: 79.6, encrypt: 0.1, total: 84.2 },
    }),
  },
  params: z.strictObject({ id: z.string().regex(uuidPattern) }),
  response: { 200: wholeExchangeBody },
  async handle({ deps, workspaceId, params }) {
    const exchange = await findExchange(deps.database, workspaceId, params.id)
    return ok(wholeBodyOf(found(exchange, 'exchange')))
  },
})
