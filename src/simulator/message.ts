import type { JsonObject } from './json.ts'
import type { Step } from './script.ts'

/** What kind of answer a plaintext calls for. */
export type MessageKind = 'ping' | 'error_notification' | 'exchange'

export type Message = { kind: MessageKind; text: string }

// What a phone reports when a screen's data does not fit its schema (protocol.md 2.6).
const errorNotice: JsonObject = { error: 'payload-schema-error', error_message: 'The data does not fit the screen.' }

/** The plaintext that the client writes for a step: compact JSON, members in the client's order (protocol.md 2.1). */
export function writeMessage(step: Step, flowToken: string, data: JsonObject = step.data ?? {}): Message {
  const version = step.version ?? '3.0'
  if (step.action === 'ping') return { kind: 'ping', text: JSON.stringify({ version, action: 'ping' }) }
  const isNotice = step.action === 'error'
  const text = JSON.stringify({
    data: isNotice && step.data === undefined ? errorNotice : data,
    flow_token: step.flowToken ?? flowToken,
    screen: step.screen ?? '',
    action: isNotice ? 'data_exchange' : step.action,
    version,
  })
  return { kind: isNotice ? 'error_notification' : 'exchange', text }
}
