export const flowResponseStatuses = ['SENT', 'IN_PROGRESS', 'COMPLETED', 'EXPIRED'] as const
export type FlowResponseStatus = (typeof flowResponseStatuses)[number]

/** Our state for one flow token. Times are Dates; null where it has not happened or is not known. */
export interface FlowResponse {
  readonly id: string
  readonly flowToken: string
  readonly flowId: string | null
  readonly status: FlowResponseStatus
  readonly sentAt: Date | null
  readonly openedAt: Date | null
  readonly lastActivityAt: Date | null
  readonly completedAt: Date | null
  readonly expiresAt: Date
  readonly clientId: string | null
  readonly conversationId: string | null
  readonly messageId: string | null
  readonly campaignId: string | null
  readonly agentId: string | null
  readonly channelId: string | null
}

/** Who a flow token belongs to, where a tenant told us. */
export interface FlowResponseLinks {
  readonly clientId: string | null
  readonly conversationId: string | null
  readonly messageId: string | null
  readonly campaignId: string | null
  readonly agentId: string | null
  readonly channelId: string | null
}

/** How long a flow token lives unless its sender said otherwise: contract.md §4. */
export const defaultLifetimeMs = 24 * 60 * 60 * 1000

const noLinks: FlowResponseLinks = {
  clientId: null,
  conversationId: null,
  messageId: null,
  campaignId: null,
  agentId: null,
  channelId: null,
}

/** Tokens that strangers share: Meta's default and the Flow Builder's. They never make or match a row (contract.md §4). */
export function isSharedToken(flowToken: string): boolean {
  return flowToken === 'unused' || flowToken.startsWith('flows-builder-')
}

export function isFinal(status: FlowResponseStatus): boolean {
  return status === 'COMPLETED' || status === 'EXPIRED'
}

/** The status to show: a row past its time is expired, whether or not a sweep has come by. */
export function statusAt({ status, expiresAt }: Pick<FlowResponse, 'status' | 'expiresAt'>, now: Date) {
  return isFinal(status) || now < expiresAt ? status : 'EXPIRED'
}

/** How long after completion a flow token still counts as open, for the last taps of the same sitting, ms. */
const closedAfterMs = 10 * 60 * 1000

/** Whether exchanges of this token are to be refused where its flow refuses closed tokens (contract.md §4). */
export function isClosed({ status, completedAt }: FlowResponse, now: Date): boolean {
  if (status === 'EXPIRED') return true
  return status === 'COMPLETED' && completedAt !== null && now.getTime() - completedAt.getTime() > closedAfterMs
}

/** The state of a flow token that is seen for the first time, in an exchange, at `now`. */
export function firstSeen(id: string, flowToken: string, flowId: string | null, now: Date): FlowResponse {
  return {
    id,
    flowToken,
    flowId,
    status: 'IN_PROGRESS',
    sentAt: null,
    openedAt: now,
    lastActivityAt: now,
    completedAt: null,
    expiresAt: new Date(now.getTime() + defaultLifetimeMs),
    ...noLinks,
  }
}

/** The state after an exchange at `now`: final states only move `lastActivityAt`, a token past its time is expired. */
export function afterExchange(before: FlowResponse, flowId: string | null, now: Date): FlowResponse {
  const seen = { ...before, lastActivityAt: latest(before.lastActivityAt, now) }
  if (isFinal(before.status)) return seen
  const told = { ...seen, flowId: before.flowId ?? flowId }
  if (now >= before.expiresAt) return { ...told, status: 'EXPIRED' }
  return { ...told, status: 'IN_PROGRESS', openedAt: before.openedAt ?? now }
}

/** The state after a `SUCCESS` reply was relayed at `now`. */
export function afterCompletion(before: FlowResponse, now: Date): FlowResponse {
  return isFinal(before.status) ? before : { ...before, status: 'COMPLETED', completedAt: now }
}

/** What two states of one flow token come to, neither of which may know of the other: `before` was there first. */
export function afterBoth(before: FlowResponse, state: FlowResponse): FlowResponse {
  const seen = { ...before, lastActivityAt: latest(before.lastActivityAt, state.lastActivityAt) }
  if (isFinal(before.status)) return seen
  const told = { ...seen, flowId: before.flowId ?? state.flowId }
  if (state.lastActivityAt !== null && state.lastActivityAt >= before.expiresAt) return { ...told, status: 'EXPIRED' }
  const { status, completedAt } = state
  return { ...told, status, openedAt: earliest(before.openedAt, state.openedAt), completedAt }
}

/**
 * The state after Meta told that the person completed the flow at `at`: linked to who it was where nothing was known. Final states stay; a
 * token past its time is expired, whether or not a sweep has come by.
 */
export function afterConfirmation(
  before: FlowResponse,
  links: Pick<FlowResponse, 'flowId' | 'clientId' | 'conversationId' | 'messageId' | 'channelId'>,
  at: Date,
): FlowResponse {
  const linked = {
    ...before,
    flowId: before.flowId ?? links.flowId,
    clientId: before.clientId ?? links.clientId,
    conversationId: before.conversationId ?? links.conversationId,
    messageId: before.messageId ?? links.messageId,
    channelId: before.channelId ?? links.channelId,
    lastActivityAt: latest(before.lastActivityAt, at),
  }
  if (isFinal(before.status)) return linked
  if (at >= before.expiresAt) return { ...linked, status: 'EXPIRED' }
  return { ...linked, status: 'COMPLETED', completedAt: at }
}

function latest<T extends Date | null>(before: Date | null, now: T): Date | T {
  return before !== null && (now === null || before > now) ? before : now
}

function earliest(a: Date | null, b: Date | null): Date | null {
  if (a === null || b === null) return a ?? b
  return a < b ? a : b
}
