/** What the phone did, in the envelope's words (contract.md §4), by Meta's action. */
export const exchangeActions = { INIT: 'init', data_exchange: 'data_exchange', BACK: 'back' } as const
export type MetaAction = keyof typeof exchangeActions
export type ExchangeAction = (typeof exchangeActions)[MetaAction]

const eventOfAction = {
  init: 'whatsapp.flows.init',
  data_exchange: 'whatsapp.flows.screen_advance',
  back: 'whatsapp.flows.back',
} as const
export type ExchangeEvent = (typeof eventOfAction)[ExchangeAction]

/** Subscription only: stands for the three exchange events. */
export const umbrellaEvent = 'whatsapp.flows.exchanges'

export const completedEvent = 'whatsapp.flows.completed'
export const errorEvent = 'whatsapp.flows.error'
export const fallbackEvent = 'whatsapp.flows.fallback'

/** Everything a webhook can subscribe to. */
export const subscribableEvents = [
  'whatsapp.flows.init',
  'whatsapp.flows.screen_advance',
  'whatsapp.flows.back',
  umbrellaEvent,
  completedEvent,
  errorEvent,
  fallbackEvent,
  'whatsapp.flows.status_changed',
  'whatsapp.flows.alert',
] as const
export type SubscribableEvent = (typeof subscribableEvents)[number]

/** Every event that is sent: all but the umbrella. */
export type WebhookEvent = Exclude<SubscribableEvent, typeof umbrellaEvent>

/** Events that tell and do not ask. */
export type Notice = Exclude<WebhookEvent, ExchangeEvent>

const exchangeEvents: ReadonlySet<string> = new Set(Object.values(eventOfAction))

/** Whether a webhook's answer is awaited. */
export function isExchangeEvent(event: SubscribableEvent): event is ExchangeEvent {
  return exchangeEvents.has(event)
}

/** What an event's `resourceId` names. */
export function resourceTypeOf(event: WebhookEvent): 'flow_response' | 'flow' {
  return event === 'whatsapp.flows.status_changed' || event === 'whatsapp.flows.alert' ? 'flow' : 'flow_response'
}

export function exchangeEvent(action: ExchangeAction): ExchangeEvent {
  return eventOfAction[action]
}
