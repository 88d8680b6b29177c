import { isObject, type JsonObject } from '../domain/json.ts'
import { phoneNumberOf } from '../domain/meta-webhook.ts'
import type { Graph } from './client.ts'
import { failed, type GraphResult, unreadable } from './problem.ts'

/** A flow for someone who wrote within the last 24 hours (protocol.md 4.4). */
export interface InteractiveFlowMessage {
  readonly type: 'interactive'
  readonly header: string | null
  readonly body: string
  readonly footer: string | null
  readonly metaFlowId: string
  readonly flowToken: string
  readonly cta: string
  readonly mode: 'published' | 'draft'
  /** `data_exchange`: the endpoint tells the first screen. `navigate`: the message does, or the flow's own first. */
  readonly action: 'data_exchange' | 'navigate'
  readonly screen: string | null
  readonly data: JsonObject | null
}

/** A flow behind the button of an approved template. */
export interface TemplateFlowMessage {
  readonly type: 'template'
  readonly name: string
  readonly language: string
  readonly components: readonly JsonObject[]
  readonly buttonIndex: number
  readonly flowToken: string
  readonly flowActionData: JsonObject | null
}

export type FlowMessage = InteractiveFlowMessage | TemplateFlowMessage

export interface Sending {
  readonly phoneNumberId: string
  /** `+` and digits. With the `+`, Meta adds no country code of its own. */
  readonly to: string
  readonly accessToken: string
}

const invalidValue = 131009

/** What Meta made of a message. */
export interface SentMessage {
  readonly messageId: string
  /** Whom it went to: Brazil's and Mexico's numbers may have another form at Meta (`wa_id`). Null: Meta did not say, or no number. */
  readonly metaPhoneNumber: string | null
}

/** Sends once. */
export async function sendFlowMessage(
  graph: Graph,
  sending: Sending,
  message: FlowMessage,
): Promise<GraphResult<SentMessage>> {
  const first = await post(graph, sending, contentOf(message, 'object'))
  // Meta's page has `data` as a string, its samples as an object: protocol.md 4.4. The first was refused, so nothing is sent twice.
  const mayBeForm = !first.ok && first.problem.metaCode === invalidValue && holdsData(message)
  return mayBeForm ? post(graph, sending, contentOf(message, 'string')) : first
}

function holdsData(message: FlowMessage): boolean {
  return message.type === 'interactive' && message.action === 'navigate' && message.data !== null
}

async function post(graph: Graph, sending: Sending, content: JsonObject): Promise<GraphResult<SentMessage>> {
  const { phoneNumberId, to, accessToken } = sending
  const body = { messaging_product: 'whatsapp', recipient_type: 'individual', to, ...content }
  const result = await graph.call({ method: 'POST', path: [phoneNumberId, 'messages'], body, accessToken })
  if (!result.ok) return result
  const sent = firstOf(result.value.messages)
  if (typeof sent?.id !== 'string') return failed(unreadable(200))
  return {
    ok: true,
    value: { messageId: sent.id, metaPhoneNumber: phoneNumberOf(firstOf(result.value.contacts)?.wa_id) },
  }
}

function firstOf(list: unknown): JsonObject | null {
  const first: unknown = Array.isArray(list) ? list[0] : null
  return isObject(first) ? first : null
}

type DataForm = 'object' | 'string'

function contentOf(message: FlowMessage, dataForm: DataForm): JsonObject {
  return message.type === 'interactive' ? interactiveContent(message, dataForm) : templateContent(message)
}

function interactiveContent(message: InteractiveFlowMessage, dataForm: DataForm): JsonObject {
  const { header, body, footer } = message
  const interactive = {
    type: 'flow',
    ...(header === null ? {} : { header: { type: 'text', text: header } }),
    body: { text: body },
    ...(footer === null ? {} : { footer: { text: footer } }),
    action: { name: 'flow', parameters: parametersOf(message, dataForm) },
  }
  return { type: 'interactive', interactive }
}

function parametersOf(message: InteractiveFlowMessage, dataForm: DataForm): JsonObject {
  const { screen, data, action } = message
  const payload = {
    ...(screen === null ? {} : { screen }),
    ...(data === null ? {} : { data: dataForm === 'object' ? data : JSON.stringify(data) }),
  }
  const hasPayload = action === 'navigate' && Object.keys(payload).length > 0
  return {
    flow_message_version: '3',
    flow_id: message.metaFlowId,
    flow_token: message.flowToken,
    flow_cta: message.cta,
    mode: message.mode,
    flow_action: action,
    ...(hasPayload ? { flow_action_payload: payload } : {}),
  }
}

/** The button must be there even where it says nothing, or Meta answers 131009: protocol.md 4.4. */
function templateContent(message: TemplateFlowMessage): JsonObject {
  const { flowToken, flowActionData } = message
  const action = {
    flow_token: flowToken,
    ...(flowActionData === null ? {} : { flow_action_data: flowActionData }),
  }
  const button = {
    type: 'button',
    sub_type: 'flow',
    index: String(message.buttonIndex),
    parameters: [{ type: 'action', action }],
  }
  const { name, language } = message
  const components = [...message.components, button]
  return { type: 'template', template: { name, language: { code: language }, components } }
}
