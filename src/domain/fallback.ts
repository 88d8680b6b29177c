import type { JsonObject } from './json.ts'
import { screenOf, type WebhookFallback } from './webhook.ts'

/** What Meta gets when nothing better is known, to the letter: contract.md §3. */
export const acknowledged = '{"data":{"acknowledged":true}}'

/** What earlier replies of the same flow token left behind; null where nothing is known. */
export interface ReplyMemory {
  /** The data that the last reply to lead to the exchange's screen gave it. */
  readonly screenData: JsonObject | null
  /** The answer last given to the same flow token, action and screen, as it was sent. */
  readonly lastGood: string | null
}

export const noMemory: ReplyMemory = { screenData: null, lastGood: null }

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
      return JSON.stringify({ screen, data: { ...memory.screenData, error_message: fallback.errorMessage } })
    case 'static':
      if (screenOf(fallback.reply) !== null || ownScreen === null) return JSON.stringify(fallback.reply)
      return JSON.stringify({ ...fallback.reply, screen: ownScreen })
    case 'last_good':
      return memory.lastGood ?? acknowledged
    default:
      return acknowledged
  }
}
