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

/** What a phone reports: `key` is empty where it could not decrypt our answer (protocol.md 2.6). */
export interface ReportedError {
  readonly key: string
  readonly message: string | null
}

export type ErrorNotification = Extract<FlowRequest, { kind: 'error_notification' }>

/** What a decrypted request asks for. */
export type FlowRequest =
  | { readonly kind: 'ping'; readonly action: 'ping'; readonly screen: null; readonly flowToken: null }
  | {
      readonly kind: 'error_notification'
      readonly action: string | null
      readonly screen: string | null
      readonly flowToken: string | null
      readonly version: string | null
      readonly error: ReportedError
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
  const version = typeof body.version === 'number' ? String(body.version) : nonEmpty(body.version)
  const error = readReportedError(body.data)
  if (error !== null) return { kind: 'error_notification', action, screen, flowToken, version, error }
  if (action === null || !Object.hasOwn(exchangeActions, action)) {
    return { kind: 'unknown_action', action, screen, flowToken }
  }
  return {
    kind: 'exchange',
    action: exchangeActions[action as MetaAction],
    screen,
    flowToken,
    version,
    payload: isObject(body.data) ? body.data : {},
    tokenSignature: body.flow_token_signature,
  }
}

/** The same request without what the person sent: as much as a repetition of it is recorded with. */
export function withoutContents(request: FlowRequest): FlowRequest {
  switch (request.kind) {
    case 'exchange':
      return { ...request, payload: {}, tokenSignature: undefined }
    case 'error_notification':
      return { ...request, error: { key: '', message: null } }
    default:
      return request
  }
}

function nonEmpty(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/**
 * protocol.md 2.6: `error` or `error_key`, a string that may be empty, beside at most a string `error_message`. Anything
 * more is a form that happens to have a field of that name: null.
 */
function readReportedError(payload: unknown): ReportedError | null {
  if (!isObject(payload)) return null
  const key = Object.hasOwn(payload, 'error') ? payload.error : payload.error_key
  if (typeof key !== 'string') return null
  const others = Object.keys(payload).filter((name) => !reportMembers.includes(name))
  const message = payload.error_message
  const texts = [payload.error, payload.error_key, message].filter((value) => value !== undefined)
  if (others.length > 0 || !texts.every((value) => typeof value === 'string')) return null
  return { key, message: typeof message === 'string' ? message : null }
}

const reportMembers: readonly string[] = ['error', 'error_key', 'error_message']
