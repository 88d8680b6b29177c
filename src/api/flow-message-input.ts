import { z } from 'zod'
import { isSharedToken } from '../domain/flow-response.ts'
import { phoneNumber, reference, text, time } from './fields.ts'

// Emoji that phones draw as such: protocol.md 4.4 says the button takes none.
const emoji = /\p{Emoji_Presentation}|\ufe0f|\u20e3/u
const object = z.record(z.string(), z.unknown())

const template = z.strictObject({
  name: text(512),
  language: text(20),
  components: z.array(object).max(20).default([]),
  buttonIndex: z.number().int().min(0).max(9).default(0),
  flowActionData: object.optional(),
})

const ofInteractive = ['header', 'body', 'footer', 'cta', 'action', 'screen', 'data', 'mode'] as const

/** What `POST /v1/flows/{id}/messages` takes. Lengths are Meta's (protocol.md 4.4). */
export const flowMessageInput = z
  .strictObject({
    phoneNumber: phoneNumber.optional(),
    clientId: reference.optional(),
    channelId: reference.optional(),
    type: z.enum(['interactive', 'template']).default('interactive'),
    header: text(60).optional(),
    body: text(1024).optional(),
    footer: text(60).optional(),
    cta: text(30)
      .refine((value) => !emoji.test(value), 'must not have emoji')
      .optional(),
    action: z.enum(['navigate', 'data_exchange']).optional(),
    screen: text(200).optional(),
    data: object.refine((value) => Object.keys(value).length > 0, 'must not be empty').optional(),
    mode: z.enum(['published', 'draft']).optional(),
    template: template.optional(),
    flowToken: text(4096)
      .refine((token) => !isSharedToken(token), 'is a token that strangers share: send your own')
      .optional(),
    expiresAt: time.optional(),
    campaignId: text(255).optional(),
    agentId: text(255).optional(),
    conversationId: reference.optional(),
  })
  .superRefine((body, context) => {
    const fault = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message })
    if ((body.phoneNumber === undefined) === (body.clientId === undefined)) {
      fault(['phoneNumber'], 'must be given, or clientId, and not both')
    }
    if (body.type === 'template') faultsOfTemplate(body, fault)
    else faultsOfInteractive(body, fault)
  })

export type FlowMessageInput = z.output<typeof flowMessageInput>
type Fault = (path: PropertyKey[], message: string) => void

function faultsOfInteractive(body: Partial<FlowMessageInput>, fault: Fault): void {
  for (const name of ['body', 'cta'] as const) {
    if (body[name] === undefined) fault([name], 'must be given for an interactive message')
  }
  if (body.template !== undefined) fault(['template'], 'is for messages of type template')
  if (body.action !== 'data_exchange') return
  for (const name of ['screen', 'data'] as const) {
    if (body[name] !== undefined) fault([name], 'is for the action navigate: with data_exchange the endpoint tells it')
  }
}

function faultsOfTemplate(body: Partial<FlowMessageInput>, fault: Fault): void {
  if (body.template === undefined) fault(['template'], 'must be given for a message of type template')
  for (const name of ofInteractive) {
    if (body[name] !== undefined) fault([name], 'is for interactive messages: the template says it')
  }
  for (const [index, component] of (body.template?.components ?? []).entries()) {
    const { sub_type: subType } = component
    const isFlowButton = typeof subType === 'string' && subType.toLowerCase() === 'flow'
    if (isFlowButton) fault(['template', 'components', index], 'must not be the flow button: Relevo makes it')
  }
}
