import { z } from 'zod'
import { randomToken } from '../crypto/digest.ts'
import { ApiError, invalidInput } from '../domain/errors.ts'
import { defaultLifetimeMs } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { type FlowMessage, type SentMessage, sendFlowMessage } from '../graph/messages.ts'
import { type Channel, channelsOfWaba, findChannel } from '../storage/channels.ts'
import { findClient } from '../storage/clients.ts'
import { findFlow, type StoredFlow } from '../storage/flows.ts'
import { beginSend, recordSendEnd, type SendEnd } from '../storage/sends.ts'
import { exampleId } from './example.ts'
import { found, requireNamed } from './existence.ts'
import { pathId } from './fields.ts'
import { type FlowMessageInput, flowMessageInput } from './flow-message-input.ts'
import { accessTokenOf, graphErrors, graphErrorsDescription, graphFailure } from './graph-access.ts'
import { type ApiDeps, created, workspaceOperation } from './operation.ts'

/** 256 bits: who guesses a flow token writes into somebody's session. */
const flowTokenBytes = 32

const sentBody = z.object({
  flowToken: z.string(),
  messageId: z.string(),
  flowResponseId: z.string(),
  status: z.literal('SENT'),
})

export const send = workspaceOperation({
  summary: 'Send a flow to a phone number',
  description:
    'Makes the flow token, unless one is given, and its flow response before Meta is called. A problem names ' +
    'both and `sendStatus`: `failed`, or `unknown` where Meta may have sent the message all the same. A ' +
    'flow token may be sent again only after one of these. Without `action`: `navigate` if `screen` or ' +
    `\`data\` is given or the flow has no endpoint, else \`data_exchange\`. ${graphErrorsDescription}`,
  errors: [...graphErrors, 'no_channels', 'already_exists'],
  example: {
    params: { id: exampleId('flow') },
    body: { phoneNumber: '+5215555550101', body: 'Your personal offer is ready.', cta: 'See the offer' },
    answer: created({
      flowToken: 'u7J2mXq0Zb4TtN9cYw3KfR8sVh1LpDgEaQx6oCi5BnM',
      messageId: 'wamid.example',
      flowResponseId: exampleId('flowResponse'),
      status: 'SENT' as const,
    }),
  },
  params: pathId('flow'),
  body: flowMessageInput,
  response: { 201: sentBody },
  async handle({ deps, workspaceId, params, body }) {
    const flow = found(await findFlow(deps.database, workspaceId, params.id), 'flow')
    const { channelId, clientId, conversationId } = body
    await requireNamed(deps.database, workspaceId, { channelId, clientId, conversationId })
    const channel = await channelOf(deps, workspaceId, flow, channelId)
    const to = await phoneNumberOf(deps, workspaceId, body)
    const accessToken = await accessTokenOf(deps, workspaceId, flow.wabaId)
    const flowToken = body.flowToken ?? randomToken(flowTokenBytes)
    const flowResponseId = await beginSend(deps.database, workspaceId, newSend(body, flow, channel, flowToken, to))

    const sending = { phoneNumberId: channel.phoneNumberId, to, accessToken }
    const result = await sendFlowMessage(deps.graph, sending, messageOf(body, flow, flowToken))
    if (!result.ok) {
      const sendStatus = result.problem.mayHaveHappened ? 'unknown' : 'failed'
      await record(deps, workspaceId, flowResponseId, { sendStatus })
      throw graphFailure(result.problem, { flowResponseId, flowToken, sendStatus })
    }
    await record(deps, workspaceId, flowResponseId, sentEnd(body, result.value, to))
    return created({ flowToken, messageId: result.value.messageId, flowResponseId, status: 'SENT' as const })
  },
})

/** The one that is named, else the WABA's only one. Throws ApiError `invalid_input`, `no_channels`. */
async function channelOf(
  deps: ApiDeps,
  workspaceId: WorkspaceId,
  { wabaId }: StoredFlow,
  channelId: string | undefined,
): Promise<Channel> {
  if (channelId !== undefined) {
    const named = found(await findChannel(deps.database, workspaceId, channelId), 'channel')
    if (named.wabaId !== wabaId) throw invalidInput('channelId', "must be a channel of the flow's WABA")
    return named
  }
  const [only, ...others] = await channelsOfWaba(deps.database, workspaceId, wabaId)
  if (only === undefined) throw new ApiError('no_channels', 'a flow is sent from a phone number: make a channel first')
  if (others.length > 0) throw invalidInput('channelId', "must be given: the flow's WABA has several channels")
  return only
}

async function phoneNumberOf(deps: ApiDeps, workspaceId: WorkspaceId, body: FlowMessageInput): Promise<string> {
  if (body.phoneNumber !== undefined) return body.phoneNumber
  return found(await findClient(deps.database, workspaceId, body.clientId ?? ''), 'client').phoneNumber
}

function newSend(body: FlowMessageInput, flow: StoredFlow, channel: Channel, flowToken: string, phoneNumber: string) {
  const { clientId, conversationId = null, campaignId = null, agentId = null, expiresAt = null } = body
  const recipient = clientId === undefined ? { phoneNumber } : { clientId }
  const links = { flowId: flow.id, channelId: channel.id, conversationId, campaignId, agentId }
  return { flowToken, recipient, expiresAt, ...links }
}

function messageOf(body: FlowMessageInput, flow: StoredFlow, flowToken: string): FlowMessage {
  const { template, header = null, footer = null, screen = null, data = null } = body
  if (template !== undefined) {
    return { type: 'template', ...template, flowActionData: template.flowActionData ?? null, flowToken }
  }
  const hasEndpoint = flow.endpointUri !== null || flow.dataApiVersion !== null
  const usual = screen !== null || data !== null || !hasEndpoint ? 'navigate' : 'data_exchange'
  const { body: text = '', cta = '', action = usual, mode = 'published' } = body
  const { metaFlowId } = flow
  return { type: 'interactive', header, body: text, footer, metaFlowId, flowToken, cta, mode, action, screen, data }
}

function sentEnd({ expiresAt }: FlowMessageInput, { messageId, metaPhoneNumber }: SentMessage, to: string): SendEnd {
  const sentAt = new Date()
  return {
    sendStatus: 'sent',
    messageId,
    metaPhoneNumber: metaPhoneNumber === to ? null : metaPhoneNumber,
    sentAt,
    expiresAt: expiresAt ?? new Date(sentAt.getTime() + defaultLifetimeMs),
  }
}

/**
 * Best effort: the message is out, or not, and the caller must be told so. A row that stays `sending` is shown as `unknown` a
 * minute later.
 */
async function record(deps: ApiDeps, workspaceId: WorkspaceId, flowResponseId: string, end: SendEnd): Promise<void> {
  await recordSendEnd(deps.database, workspaceId, flowResponseId, end).catch((error: unknown) =>
    deps.reportError(error, 'POST /v1/flows/:id/messages'),
  )
}
