import { z } from 'zod'
import { sampleOf } from './event-samples.ts'
import { eventSchemas } from './event-schemas.ts'
import { isExchangeEvent, type SubscribableEvent, subscribableEvents, umbrellaEvent } from './events.ts'
import { exampleNow, exampleUuid, exampleWorkspaceId } from './example-records.ts'
import type { JsonObject } from './json.ts'

/** One event that a webhook can subscribe to, as it is shown to tenants. */
export interface EventType {
  readonly event: SubscribableEvent
  readonly description: string
  /** Whether the webhook's answer goes back to the phone. */
  readonly answerAwaited: boolean
  /** JSON Schema (2020-12) of the envelope. */
  readonly schema: JsonObject
  readonly example: JsonObject
}

const descriptions: Readonly<Record<SubscribableEvent, string>> = {
  'whatsapp.flows.init': 'A person opened the flow.',
  'whatsapp.flows.screen_advance': 'A person filled in a screen and goes on.',
  'whatsapp.flows.back': 'A person went back to an earlier screen.',
  [umbrellaEvent]:
    'For subscriptions only: stands for `init`, `screen_advance` and `back`, which come under their own names.',
  'whatsapp.flows.completed': 'A person completed the flow.',
  'whatsapp.flows.error': 'The phone reported an error, mostly about an answer it could not use.',
  'whatsapp.flows.fallback': 'An exchange ended in the fallback instead of a reply of the webhook.',
  'whatsapp.flows.status_changed': "The flow's status at Meta changed.",
  'whatsapp.flows.alert': 'Meta gave notice of error rate, latency, availability, or a version that expires.',
}

const exampleStamp = { id: exampleUuid, workspaceId: exampleWorkspaceId, now: exampleNow }

/** Every event that can be subscribed to, with its schema and an example. */
export function listEventTypes(): EventType[] {
  return subscribableEvents.map((event) => ({
    event,
    description: descriptions[event],
    answerAwaited: event === umbrellaEvent || isExchangeEvent(event),
    // Of the input: the schema of the output would forbid members that come one day.
    schema: z.toJSONSchema(eventSchemas[event], { io: 'input' }),
    example: JSON.parse(sampleOf(event === umbrellaEvent ? 'whatsapp.flows.init' : event, exampleStamp).envelope),
  }))
}
