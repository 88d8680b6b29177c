import { type ExchangeAction, exchangeActions, type MetaAction } from './events.ts'
import { isObject, type JsonObject } from './json.ts'

/** INIT, data_exchange or BACK, in the envelope's words: `""` and missing are null, missing data is `{}`. */
export interface ExchangeRequest {
  readonly kind: 'exchange'
  readonly action: ExchangeAction
  readonly screen: string | null
  readonly flowToken: string | null
  readonly version: string | null
  readonly payload: JsonObject
  /** `flow_token_signature` as it came (protocol.md 2.4). */
  readonly tokenSignature: unknown
}

/** What a decrypted request asks for. */
export type FlowRequest =
  | { readonly kind: 'ping'; readonly action: 'ping'; readonly screen: null; readonly flowToken: null }
  | {
      readonly kind: 'error_notification'
      readonly action: string | null
      readonly screen: string | null
      readonly flowToken: string | null
    }
  | {
      readonly kind: 'unknown_action'
      readonly action: string | null
      readonly screen: string | null
      readonly flowToken: string | null
    }
  | ExchangeRequest

/**
 * Decides what a decrypted body is. Phones and preview tools differ in what they leave out (protocol.md 2.2), so any JSON
 * object will do: members of an unexpected type count as missing. Never throws.
 */
export function classifyAction(body: JsonObject): FlowRequest {
  const action = typeof body.action === 'string' ? body.action : null
  const screen = nonEmpty(body.screen)
  const flowToken = nonEmpty(body.flow_token)
  if (action === 'ping') return { kind: 'ping', action, screen: null, flowToken: null }
  if (isErrorNotification(body.data)) return { kind: 'error_notification', action, screen, flowToken }
  if (action === null || !Object.hasOwn(exchangeActions, action)) {
    return { kind: 'unknown_action', action, screen, flowToken }
  }
  return {
    kind: 'exchange',
    action: exchangeActions[action as MetaAction],
    screen,
    flowToken,
    version: typeof body.version === 'number' ? String(body.version) : nonEmpty(body.version),
    payload: isObject(body.data) ? body.data : {},
    tokenSignature: body.flow_token_signature,
  }
}

function nonEmpty(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/**
 * protocol.md 2.6: `error` or `error_key`, a string that may be empty, beside at most a string `error_message`. Anything
 * more is a form that happens to have a field of that name.
 */
function isErrorNotification(payload: unknown): boolean {
  if (!isObject(payload)) return false
  let named = false
  for (const [member, value] of Object.entries(payload)) {
    if (typeof value !== 'string') return false
    if (member === 'error' || member === 'error_key') named = true
    else if (member !== 'error_message') return false
  }
  return named
}
