import { isObject, type JsonObject, parseJson } from './json.ts'
import type { MessageKind } from './message.ts'
import type { OpenedAnswer } from './seal.ts'

/**
 * What came back: the next `screen`; `active` to a ping; `acknowledged` to an error notification; `fallback`, the screenless
 * `{"data":{"acknowledged":true}}` to an exchange; `token_refused` (427); `refused`, any other status; `wrong`, an answer that
 * a client cannot use; `lost`, none at all; `not_sent`, a step that could not be written.
 */
export type AnswerKind =
  | 'screen'
  | 'active'
  | 'acknowledged'
  | 'fallback'
  | 'token_refused'
  | 'refused'
  | 'wrong'
  | 'lost'
  | 'not_sent'

export type Response = { status: number; contentType: string; body: string }

export type ReadAnswer = { kind: AnswerKind; answer: JsonObject | null; problem: string | null }

/** Decrypts and checks a response as the client does (protocol.md 1.5, 1.7, 2.3). Never throws; `problem` says what a client would trip over. */
export function readAnswer(kind: MessageKind, response: Response, open: (body: string) => OpenedAnswer): ReadAnswer {
  const { status, body } = response
  // 427 without a body is allowed: the client shows its own text (protocol.md 1.7).
  if (status === 427 && body === '') return { kind: 'token_refused', answer: null, problem: null }
  if (status !== 200 && status !== 427) return { kind: 'refused', answer: null, problem: null }
  if (!/^text\/plain(;|$)/i.test(response.contentType.trim()))
    return wrong(`Content-Type is ${named(response.contentType)}, not text/plain`)
  const opened = open(body)
  if (!opened.ok) return wrong(opened.problem)
  const answer = parseJson(opened.text)
  if (!isObject(answer)) return wrong('the decrypted answer is not a JSON object')
  const problem = status === 427 ? checkRefusal(answer) : checks[kind](answer)
  if (problem !== null) return { kind: 'wrong', answer, problem }
  return { kind: status === 427 ? 'token_refused' : kindOf(kind, answer), answer, problem: null }
}

/** True for exactly `{"data":{"acknowledged":true}}`. */
export function isAcknowledgement(answer: JsonObject): boolean {
  return JSON.stringify(answer) === '{"data":{"acknowledged":true}}'
}

const checks: Record<MessageKind, (answer: JsonObject) => string | null> = {
  ping: (answer) => (dataOf(answer).status === 'active' ? null : 'the answer to a ping lacks data.status "active"'),
  error_notification: (answer) =>
    dataOf(answer).acknowledged === true ? null : 'the answer to an error notification lacks data.acknowledged true',
  exchange: (answer) => (isAcknowledgement(answer) ? null : checkScreen(answer)),
}

function kindOf(kind: MessageKind, answer: JsonObject): AnswerKind {
  if (kind === 'ping') return 'active'
  if (kind === 'error_notification') return 'acknowledged'
  return isAcknowledgement(answer) ? 'fallback' : 'screen'
}

/** The web client's shape check, and the completion rule (protocol.md 2.3). */
function checkScreen(answer: JsonObject): string | null {
  const { screen, data } = answer
  if (typeof screen !== 'string' || screen === '') return 'no screen in the answer: a client refuses it'
  if (data !== undefined && !isObject(data)) return 'data is not an object'
  const { error_message, extension_message_response: completion } = dataOf(answer)
  if (error_message !== undefined && typeof error_message !== 'string') return 'data.error_message is not a string'
  if (completion === undefined) {
    return screen === 'SUCCESS' ? 'SUCCESS without data.extension_message_response.params.flow_token' : null
  }
  if (!isObject(completion) || !isObject(completion.params))
    return 'data.extension_message_response has no params object'
  if (typeof completion.params.flow_token !== 'string')
    return 'data.extension_message_response.params has no flow_token'
  return null
}

function checkRefusal(answer: JsonObject): string | null {
  return typeof answer.error_msg === 'string' ? null : 'the 427 answer has no error_msg'
}

function dataOf(answer: JsonObject): JsonObject {
  return isObject(answer.data) ? answer.data : {}
}

function named(contentType: string): string {
  return contentType === '' ? 'missing' : contentType
}

function wrong(problem: string): ReadAnswer {
  return { kind: 'wrong', answer: null, problem }
}
