import { decodeUtf8, isObject, isTooDeep, type JsonObject, parseJson, parseJsonObject } from './json.ts'
import { dataOf, isReplyObject, screenOf } from './webhook.ts'

/** A webhook's answer that counts as a reply. `text` is the JSON as it came. */
export interface Reply {
  readonly text: string
  readonly body: JsonObject
  readonly screen: string | null
}

export type ReplyProblem = 'bad_status' | 'not_json' | 'invalid_reply' | 'internal_error'

export type ReadReply =
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** HTTP 427 with an `error_msg`: the phone shows it and closes the message's button (protocol.md 1.7). */
  | { readonly kind: 'token_refused'; readonly text: string }
  | { readonly kind: 'problem'; readonly problem: ReplyProblem }

/** Judges a complete response of a webhook: contract.md §3 "What counts as a reply". Never throws. */
export function readReply(status: number, bytes: Uint8Array): ReadReply {
  if (status === 427) return readRefusal(bytes)
  if (status < 200 || status > 299) return problem('bad_status')
  const text = decodeUtf8(bytes)
  if (text === null) return problem('not_json')
  const parsed = parseJson(text)
  if (parsed === undefined) return problem('not_json')
  if (isTooDeep(text)) return problem('internal_error')
  if (!isObject(parsed) || !isReplyObject(parsed)) return problem('invalid_reply')
  return { kind: 'reply', reply: { text, body: parsed, screen: screenOf(parsed) } }
}

function readRefusal(bytes: Uint8Array): ReadReply {
  const text = decodeUtf8(bytes)
  const body = text === null || isTooDeep(text) ? null : parseJsonObject(text)
  if (text === null || typeof body?.error_msg !== 'string') return problem('bad_status')
  return { kind: 'token_refused', text }
}

/**
 * The answer that goes to the phone: the reply as given, `data` that is no object dropped, and the exchange's own screen
 * where the reply names none, because phones refuse a reply without one (protocol.md 2.3). The reply's own text is kept
 * wherever it can be, so that no number or member order changes on the way.
 */
export function completeScreen(reply: Reply, ownScreen: string | null): string {
  const { body, text } = reply
  const dropData = Object.hasOwn(body, 'data') && dataOf(body) === null
  const dropScreen = Object.hasOwn(body, 'screen') && reply.screen === null
  if (dropData || dropScreen) return rewrite(reply, reply.screen ?? ownScreen)
  if (reply.screen !== null || ownScreen === null) return text
  // A reply without screen has data, so the object is not empty and the comma is right.
  return `{"screen":${JSON.stringify(ownScreen)},${text.trimStart().slice(1)}`
}

function rewrite({ text, body }: Reply, screen: string | null): string {
  const kept = Object.entries(parseKeepingNumbers(text)).filter(
    ([member]) => member !== 'screen' && (member !== 'data' || dataOf(body)),
  )
  return JSON.stringify(Object.fromEntries(screen === null ? kept : [['screen', screen], ...kept]))
}

// JSON.rawJSON and what a reviver is told of the source are in Node since 22; TypeScript does not know them yet.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }
type SourceReviver = (this: unknown, name: string, value: unknown, context: { source: string }) => unknown

/** Its numbers are written again as they were: 12345678901234567890, 1.0 and 1e400 survive. */
function parseKeepingNumbers(json: string): JsonObject {
  const keep: SourceReviver = (_name, value, { source }) => (typeof value === 'number' ? rawJSON(source) : value)
  return JSON.parse(json, keep as Parameters<typeof JSON.parse>[1])
}

function problem(name: ReplyProblem): ReadReply {
  return { kind: 'problem', problem: name }
}
