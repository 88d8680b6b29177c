import { membersOf } from './json.ts'
import { readAnswer, screenOf, type WebhookFallback } from './webhook.ts'

/** What Meta gets when nothing better is known, to the letter: contract.md §3. */
export const acknowledged = '{"data":{"acknowledged":true}}'

/** What earlier replies of the same flow token left behind; null where nothing is known. */
export interface ReplyMemory {
  /** Of the data that the last reply to lead to the exchange's screen gave it: {@link screenDataOf}. */
  readonly screenData: string | null
  /** The answer last given to the same flow token, action and screen, as it was sent. */
  readonly lastGood: string | null
}

export const noMemory: ReplyMemory = { screenData: null, lastGood: null }

/** The members of an answer's data as they came, `"a":1,"b":2`, but for the message of an error; null when it shows no screen. Never throws. */
export function screenDataOf(answer: string): string | null {
  const shown = readAnswer(answer)
  if (shown === null) return null
  const members = shown.data === null ? undefined : membersOf(answer).findLast(({ name }) => name === 'data')
  const kept = members === undefined ? [] : membersOf(members.value).filter(({ name }) => name !== 'error_message')
  return kept.map(({ text }) => text).join(',')
}

/** The answer when there is no reply. `ownScreen` is the exchange's screen (for INIT the flow's first, if known). */
export function fallbackAnswer(
  fallback: WebhookFallback | null,
  screen: string | null,
  ownScreen: string | null,
  memory: ReplyMemory,
): string {
  switch (fallback?.mode) {
    case 'stay':
      // Phones check a screen's data against its schema: without the data it had, the acknowledgement is the better answer.
      if (screen === null || memory.screenData === null) return acknowledged
      return stay(screen, memory.screenData, fallback.errorMessage)
    case 'static':
      if (screenOf(fallback.reply) !== null || ownScreen === null) return JSON.stringify(fallback.reply)
      return JSON.stringify({ ...fallback.reply, screen: ownScreen })
    case 'last_good':
      return memory.lastGood ?? acknowledged
    default:
      return acknowledged
  }
}

/** As text: phones check a screen's data, and no number of it may change on the way. */
function stay(screen: string, screenData: string, errorMessage: string): string {
  const message = `"error_message":${JSON.stringify(errorMessage)}`
  const members = screenData === '' ? message : `${screenData},${message}`
  return `{"screen":${JSON.stringify(screen)},"data":{${members}}}`
}
