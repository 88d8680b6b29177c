import {
  decodeUtf8,
  hasTooManyValues,
  isObject,
  isTooDeep,
  type JsonObject,
  maxExchangeValues,
  membersOf,
  parseJson,
  parseJsonObject,
} from './json.ts'
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
  if (hasTooManyValues(text, maxExchangeValues)) return problem('internal_error')
  const parsed = parseJson(text)
  if (parsed === undefined) return problem('not_json')
  if (isTooDeep(text)) return problem('internal_error')
  if (!isObject(parsed) || !isReplyObject(parsed)) return problem('invalid_reply')
  return { kind: 'reply', reply: { text, body: parsed, screen: screenOf(parsed) } }
}

function readRefusal(bytes: Uint8Array): ReadReply {
  const text = decodeUtf8(bytes)
  const body =
    text === null || isTooDeep(text) || hasTooManyValues(text, maxExchangeValues) ? null : parseJsonObject(text)
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

/** Member by member as they came: 12345678901234567890, 1.0 and 1e400 survive, and no reviver is called for each of 130,000 numbers. */
function rewrite({ text, body }: Reply, screen: string | null): string {
  const members = membersOf(text)
  // Of several with one name the last counts, as for whoever parses.
  const data = dataOf(body) === null ? undefined : members.findLast(({ name }) => name === 'data')
  const kept = members.filter((member) => member.name !== 'screen' && (member.name !== 'data' || member === data))
  const texts = kept.map((member) => member.text)
  return `{${(screen === null ? texts : [`"screen":${JSON.stringify(screen)}`, ...texts]).join(',')}}`
}

function problem(name: ReplyProblem): ReadReply {
  return { kind: 'problem', problem: name }
}
