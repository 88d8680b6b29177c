import { buildEnvelope, buildNotice, flowRecordMembers, recordMembers } from './envelope.ts'
import { type ExchangeAction, exchangeActions, type Notice, resourceTypeOf, type WebhookEvent } from './events.ts'
import {
  exampleClient,
  exampleConversation,
  exampleFlow,
  exampleFlowResponse,
  exampleFlowToken,
  exampleNow,
  exampleUuid,
  exampleWabaId,
} from './example-records.ts'
import type { ExchangeRequest } from './exchange.ts'
import type { WorkspaceId } from './ids.ts'
import type { JsonObject } from './json.ts'

/** What makes one sample of an event unlike another. */
export interface SampleStamp {
  readonly id: string
  readonly workspaceId: WorkspaceId
  readonly now: Date
}

export interface EventSample {
  readonly resourceId: string | null
  /** The envelope's text. */
  readonly envelope: string
  /** What a `plain` webhook gets in its place: Meta's decrypted body. Null where it gets the envelope. */
  readonly plain: string | null
}

/** An event as a webhook gets it, with the data of nobody. */
export function sampleOf(event: WebhookEvent, stamp: SampleStamp): EventSample {
  switch (event) {
    case 'whatsapp.flows.init':
      return exchange(stamp, 'init', null, {})
    case 'whatsapp.flows.screen_advance':
      return exchange(stamp, 'data_exchange', 'PRODUCT_SELECTOR', { selected_product: 'p2' })
    case 'whatsapp.flows.back':
      return exchange(stamp, 'back', 'OPTIONS', {})
    default:
      return notice(event, stamp)
  }
}

function exchange(
  stamp: SampleStamp,
  action: ExchangeAction,
  screen: string | null,
  payload: JsonObject,
): EventSample & { readonly plain: string } {
  const version = '3.0'
  const request: ExchangeRequest = {
    kind: 'exchange',
    action,
    screen,
    flowToken: exampleFlowToken,
    version,
    payload,
    tokenSignature: undefined,
  }
  const records = { client: exampleClient, conversation: exampleConversation, flowResponse: exampleFlowResponse }
  const metaAction = Object.entries(exchangeActions).find(([, name]) => name === action)?.[0]
  return {
    resourceId: exampleFlowToken,
    envelope: buildEnvelope({
      ...stamp,
      wabaId: exampleWabaId,
      request,
      flow: exampleFlow,
      records,
      tokenSignature: 'absent',
    }),
    plain: JSON.stringify({
      data: payload,
      flow_token: exampleFlowToken,
      screen: screen ?? '',
      action: metaAction,
      version,
    }),
  }
}

function notice(event: Notice, stamp: SampleStamp): EventSample {
  const resourceId = resourceTypeOf(event) === 'flow' ? exampleFlow.id : exampleFlowToken
  const changes = event === 'whatsapp.flows.status_changed' ? { status: { from: 'DRAFT', to: 'PUBLISHED' } } : null
  const data = { ...recordsOf(event, stamp), ...ownMember(event) }
  const plain = event === 'whatsapp.flows.error' ? JSON.stringify(reportedError) : null
  return { resourceId, envelope: buildNotice({ ...stamp, event, resourceId, changes, data }), plain }
}

function recordsOf(event: Notice, { workspaceId }: SampleStamp) {
  if (resourceTypeOf(event) === 'flow') return flowRecordMembers(exampleWabaId, exampleFlow.metaFlowId, exampleFlow)
  const flowResponse =
    event === 'whatsapp.flows.completed'
      ? { ...exampleFlowResponse, status: 'COMPLETED' as const, completedAt: exampleNow }
      : exampleFlowResponse
  const records = { client: exampleClient, conversation: exampleConversation, flowResponse }
  return recordMembers(workspaceId, exampleWabaId, exampleFlowToken, exampleFlow, records)
}

/** As a phone reports an error: protocol.md 2.6. */
const reportedError = {
  version: '3.0',
  flow_token: exampleFlowToken,
  screen: 'PRODUCT_SELECTOR',
  action: 'data_exchange',
  data: { error: 'payload-schema-error', error_message: 'The data of the screen does not match its schema.' },
}

function ownMember(event: Notice): JsonObject {
  const { screen, action, version, data } = reportedError
  switch (event) {
    case 'whatsapp.flows.completed':
      return { response: { flow_token: exampleFlowToken, accepted: 'yes' } }
    case 'whatsapp.flows.error':
      return { error: { key: data.error, message: data.error_message, action, screen, version } }
    case 'whatsapp.flows.fallback': {
      const failed = { outcome: 'timeout', durationMs: 702.4, event: 'whatsapp.flows.screen_advance' }
      return { exchange: { id: exampleUuid, ...failed }, count: 1 }
    }
    case 'whatsapp.flows.alert':
      return { alert }
    case 'whatsapp.flows.status_changed':
      return {}
  }
}

/** Meta's notice of a slow endpoint: protocol.md 5.4. */
const alert = {
  event: 'ENDPOINT_LATENCY',
  message: 'The p90 latency of the endpoint has reached the threshold.',
  flow_id: exampleFlow.metaFlowId,
  p50_latency: 500,
  p90_latency: 1100,
  requests_count: 1000,
  threshold: 1000,
  alert_state: 'ACTIVATED',
}
