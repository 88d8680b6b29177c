import {
  countMarks,
  hasTooManyValues,
  isObject,
  isTooDeep,
  type JsonObject,
  maxExchangeValues,
  maxJsonValues,
  parseJson,
  parseJsonObject,
} from './json.ts'

/** What Meta tells of one WABA (protocol.md 5.2). */
export interface MetaEntry {
  readonly wabaId: string
  /** When it happened, by Meta's clock, to the second. */
  readonly time: Date | null
  readonly changes: readonly MetaChange[]
}

export interface MetaChange {
  readonly field: string
  readonly value: JsonObject
}

/** Meta puts at most 1,000 changes into a body (protocol.md 5.2). What costs us something each, 3 MB of brackets could have a million of. */
const mostThings = 10_000

/**
 * The entries of a body; null when it is not JSON, nested too deep, has no list of entries, or holds more than Meta ever tells at once. What is
 * malformed in the list is an entry without a WABA, or lacks its changes: Meta's other entries must not suffer.
 */
export function readMetaEntries(text: string): MetaEntry[] | null {
  if (isTooDeep(text) || hasTooManyValues(text, maxJsonValues)) return null
  const body = parseJson(text)
  if (!isObject(body) || !Array.isArray(body.entry) || hasTooMany(body.entry)) return null
  return body.entry.map(entryOf)
}

function hasTooMany(entries: readonly unknown[]): boolean {
  let left = mostThings - entries.length
  for (const entry of entries) {
    const changes = isObject(entry) && Array.isArray(entry.changes) ? entry.changes : []
    left -= changes.length
    if (left < 0) return true
    for (const change of changes) {
      const { messages, contacts }: JsonObject = isObject(change) && isObject(change.value) ? change.value : {}
      for (const list of [messages, contacts]) left -= Array.isArray(list) ? list.length : 0
    }
  }
  return left < 0
}

function entryOf(entry: unknown): MetaEntry {
  if (!isObject(entry)) return { wabaId: '', time: null, changes: [] }
  const changes = Array.isArray(entry.changes) ? entry.changes : []
  return { wabaId: textOf(entry.id) ?? '', time: timeOf(entry.time), changes: changes.flatMap(changeOf) }
}

function changeOf(change: unknown): MetaChange[] {
  if (!isObject(change) || typeof change.field !== 'string' || !isObject(change.value)) return []
  return [{ field: change.field, value: change.value }]
}

/** A message from a person (protocol.md 5.3). */
export interface MetaMessage {
  /** Null where it has none: then `source` tells it from others. */
  readonly id: string | null
  readonly source: JsonObject
  /** The channel, by Meta's id. */
  readonly phoneNumberId: string | null
  /** `+` and Meta's `wa_id`; null where there is none, as for people with user names, or it is no phone number. */
  readonly phoneNumber: string | null
  readonly name: string | null
  readonly sentAt: Date | null
  readonly completion: FlowCompletion | null
}

/** What an `nfm_reply` tells: a person completed a flow. */
export interface FlowCompletion {
  /** The message that sent the flow. */
  readonly messageId: string | null
  readonly flowToken: string | null
  /** `{}` where `response_json` holds no object, or more than is read. It is text on the wire; one of Meta's pages shows the object itself (protocol.md 3). */
  readonly response: JsonObject
}

/** Meta's have fewer than 200 characters, and PostgreSQL's index takes no more than 2,700 bytes. */
const longestMessageId = 512

/** How many more values the texts of forms may have that are read at one go: a body counts them as one value each, and may have a thousand. */
export interface FormBound {
  left: number
}

export const newFormBound = (): FormBound => ({ left: maxJsonValues })

/** The messages in a change of the field `messages`; statuses and errors are not. */
export function readMessages(value: JsonObject, bound: FormBound = newFormBound()): MetaMessage[] {
  const messages = Array.isArray(value.messages) ? value.messages.filter(isObject) : []
  const contacts = Array.isArray(value.contacts) ? value.contacts.filter(isObject) : []
  const phoneNumberId = isObject(value.metadata) ? textOf(value.metadata.phone_number_id) : null
  const contactOf = contactFinder(messages, contacts)
  return messages.map((message) => {
    const contact = contactOf(message)
    const profile = contact?.profile
    return {
      id: textOf(message.id),
      source: message,
      phoneNumberId,
      phoneNumber: phoneNumberOf(message.from) ?? phoneNumberOf(contact?.wa_id),
      name: isObject(profile) ? nameOf(profile.name) : null,
      sentAt: timeOf(message.timestamp),
      completion: completionOf(message, bound),
    }
  })
}

/** Whose message it is; the only contact is the only sender. Looked up, because a body may have thousands of both. */
function contactFinder(
  messages: readonly JsonObject[],
  contacts: readonly JsonObject[],
): (message: JsonObject) => JsonObject | undefined {
  const senders = new Set(messages.map(({ from, from_user_id: userId }) => from ?? userId))
  if (contacts.length < 2 && senders.size < 2) return () => contacts[0]
  const byId = new Map<unknown, JsonObject>()
  for (const contact of contacts) {
    for (const id of [contact.wa_id, contact.user_id]) {
      if (typeof id === 'string') byId.set(id, contact)
    }
  }
  return (message) => byId.get(message.from) ?? byId.get(message.from_user_id)
}

function completionOf({ context, interactive }: JsonObject, bound: FormBound): FlowCompletion | null {
  if (!isObject(interactive) || interactive.type !== 'nfm_reply' || !isObject(interactive.nfm_reply)) return null
  // Addresses and payments are an nfm_reply too, by another name.
  const { name, response_json: json } = interactive.nfm_reply
  if (name !== 'flow') return null
  const response = responseOf(json, bound)
  const messageId = isObject(context) ? textOf(context.id) : null
  const isIndexable = messageId !== null && messageId.length <= longestMessageId
  return {
    messageId: isIndexable ? messageId : null,
    flowToken: textOf(response?.flow_token),
    response: response ?? {},
  }
}

/** Null where it is no object, too deep or too much. */
function responseOf(json: unknown, bound: FormBound): JsonObject | null {
  // Its values were counted as the body's.
  if (isObject(json)) return json
  if (typeof json !== 'string' || isTooDeep(json)) return null
  const most = Math.min(maxExchangeValues, bound.left)
  const values = countMarks(json, most)
  if (values > most) return null
  bound.left -= values
  return parseJsonObject(json)
}

/** What Meta tells of a flow (protocol.md 5.4). */
export type FlowNotice =
  | {
      readonly kind: 'status'
      readonly metaFlowId: string
      /** Null when it was made. */
      readonly from: string | null
      readonly to: string
    }
  | { readonly kind: 'alert'; readonly metaFlowId: string; readonly alert: JsonObject & { readonly event: string } }

const alertEvents: ReadonlySet<unknown> = new Set([
  'CLIENT_ERROR_RATE',
  'ENDPOINT_ERROR_RATE',
  'ENDPOINT_LATENCY',
  'ENDPOINT_AVAILABILITY',
  'FLOW_VERSION_EXPIRY_WARNING',
])

/** The notice in a change of the field `flows`; null for events that are not known, or name no flow. */
export function readFlowNotice(value: JsonObject): FlowNotice | null {
  const { event, flow_id: id } = value
  const metaFlowId = Number.isSafeInteger(id) ? String(id) : textOf(id)
  if (metaFlowId === null || typeof event !== 'string') return null
  if (alertEvents.has(event)) return { kind: 'alert', metaFlowId, alert: { ...value, event } }
  const to = textOf(value.new_status)
  if (event !== 'FLOW_STATUS_CHANGE' || to === null) return null
  return { kind: 'status', metaFlowId, from: textOf(value.old_status), to }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** The tenant's form of it (contract.md §6); no library judges it. */
/** `+` and Meta's `wa_id`; null where it is no phone number. */
export function phoneNumberOf(waId: unknown): string | null {
  return typeof waId === 'string' && /^[0-9]{8,15}$/.test(waId) ? `+${waId}` : null
}

/** What the API takes as a name. */
const longestName = 200

function nameOf(value: unknown): string | null {
  const name = textOf(value)
  return name === null ? null : name.slice(0, longestName).toWellFormed()
}

const latestSeconds = 253_370_764_799 // the year 9998

/** Unix seconds, as text or number. */
function timeOf(value: unknown): Date | null {
  const isText = typeof value === 'string' && /^\d{1,12}$/.test(value)
  const seconds = isText || typeof value === 'number' ? Number(value) : Number.NaN
  return Number.isSafeInteger(seconds) && seconds > 0 && seconds <= latestSeconds ? new Date(seconds * 1000) : null
}
