import { z } from 'zod'
import { type SubscribableEvent, umbrellaEvent } from './events.ts'
import { flowResponseStatuses } from './flow-response.ts'
import { isFallback, outcomeNames } from './outcome.ts'

/**
 * What a webhook receives, event by event (contract.md §4), as schemas that tenants are shown. They follow the envelope; a test
 * holds both together. Members that are not named here may come one day: consumers are to let them pass.
 */

const time = z.iso.datetime()
const text = z.string().nullable()

const client = z.object({
  id: z.string(),
  phoneNumber: z.string(),
  creationDate: time,
  lastUpdate: time,
  name: text,
  firstname: text,
  email: text,
})

const conversation = z.object({
  id: z.string(),
  conversationId: z.string(),
  canSendDirectMessage: z.boolean(),
  workspaceId: z.string(),
  channelId: text,
  contactName: text,
  phoneNumber: text,
  topic: z.string(),
  platform: z.string(),
  owners: z.array(z.string()),
  tags: z.array(z.string()),
  creationDate: time,
  lastUpdate: time,
  status: z.string(),
  operation: z.string(),
  messageCount: z.int(),
})

const flow = z.object({
  id: text.describe('Null when the flow cannot be told.'),
  wabaId: z.string(),
  name: z.string().optional(),
  status: z.string().optional(),
  categories: z.array(z.string()).optional(),
  dataApiVersion: z.string().optional(),
  endpointUri: z.string().optional(),
  jsonVersion: z.string().optional(),
  creationDate: time.optional(),
  lastUpdate: time.optional(),
  lastSyncAt: time.optional(),
})
const flowAtMeta = flow.extend({ metaFlowId: z.string() })

/** All but token and status are missing where the records were not read in time, and for tokens that strangers share. */
const flowResponse = z.object({
  flowToken: z.string(),
  status: z.enum(flowResponseStatuses),
  sentAt: time.nullish(),
  openedAt: time.nullish(),
  lastActivityAt: time.nullish(),
  completedAt: time.nullish(),
  expiresAt: time.optional(),
  clientId: text.optional(),
  conversationId: text.optional(),
  messageId: text.optional(),
  campaignId: text.optional(),
  agentId: text.optional(),
  channelId: text.optional(),
})

const records = { client: client.nullable(), conversation: conversation.nullable(), flow }
const anyMembers = z.record(z.string(), z.unknown())

const ofFlowResponse = {
  resourceType: z.literal('flow_response'),
  resourceId: text.describe('The flow token.'),
  changes: z.null(),
}
const ofFlow = {
  resourceType: z.literal('flow'),
  resourceId: text.describe('The id of the flow; null where it is not registered.'),
}

function envelope<Event extends string, About extends z.ZodRawShape, Data extends z.ZodRawShape>(
  event: Event,
  about: About,
  data: Data,
) {
  return z.object({
    id: z.uuid().describe('Stable over attempts.'),
    event: z.literal(event),
    workspaceId: z.string(),
    timestamp: time,
    source: z.literal('whatsapp.flows'),
    ...about,
    data: z.object(data),
  })
}

function exchange<Event extends string, Action extends string>(event: Event, action: Action) {
  const flowExchange = z.object({
    action: z.literal(action),
    screen: text,
    version: text,
    payload: anyMembers,
    tokenSignature: z.enum(['verified', 'invalid', 'absent']),
  })
  return envelope(event, ofFlowResponse, { ...records, flowResponse: flowResponse.nullable(), flowExchange })
}

const init = exchange('whatsapp.flows.init', 'init')
const screenAdvance = exchange('whatsapp.flows.screen_advance', 'data_exchange')
const back = exchange('whatsapp.flows.back', 'back')

const completed = envelope('whatsapp.flows.completed', ofFlowResponse, {
  ...records,
  flowResponse: flowResponse
    .extend({ status: z.literal('COMPLETED') })
    .nullable()
    .describe('Null where neither the flow token came back nor the message that sent the flow is known.'),
  response: anyMembers.describe('What the flow sent when it was completed.'),
})

const error = envelope('whatsapp.flows.error', ofFlowResponse, {
  ...records,
  flowResponse: flowResponse.nullable(),
  error: z.object({
    key: z.string().describe("Meta's name of the error; the empty string where the phone gave none."),
    message: text,
    action: text,
    screen: text,
    version: text,
  }),
})

const fallback = envelope('whatsapp.flows.fallback', ofFlowResponse, {
  ...records,
  flowResponse: flowResponse.nullable(),
  exchange: z.object({
    id: z.uuid(),
    outcome: z.enum(outcomeNames.filter(isFallback)),
    durationMs: z.number(),
    event: z.enum(['whatsapp.flows.init', 'whatsapp.flows.screen_advance', 'whatsapp.flows.back']),
  }),
  count: z.int().min(1).describe('How many fallbacks this event stands for: at most one a second is told of.'),
})

const noRecords = { client: z.null(), conversation: z.null(), flow: flowAtMeta, flowResponse: z.null() }

const statusChanged = envelope(
  'whatsapp.flows.status_changed',
  { ...ofFlow, changes: z.object({ status: z.object({ from: text, to: z.string() }) }) },
  noRecords,
)

const alert = envelope(
  'whatsapp.flows.alert',
  { ...ofFlow, changes: z.null() },
  { ...noRecords, alert: z.looseObject({ event: z.string() }).describe("Meta's notice as it came.") },
)

/** The schema of each event. That of the umbrella is any of the three it stands for. */
export const eventSchemas = {
  'whatsapp.flows.init': init,
  'whatsapp.flows.screen_advance': screenAdvance,
  'whatsapp.flows.back': back,
  [umbrellaEvent]: z.discriminatedUnion('event', [init, screenAdvance, back]),
  'whatsapp.flows.completed': completed,
  'whatsapp.flows.error': error,
  'whatsapp.flows.fallback': fallback,
  'whatsapp.flows.status_changed': statusChanged,
  'whatsapp.flows.alert': alert,
} as const satisfies Record<SubscribableEvent, z.ZodType>
