import { buildNotice, type Client, type Conversation, recordMembers } from '../domain/envelope.ts'
import { completedEvent } from '../domain/events.ts'
import type { Flow } from '../domain/flow.ts'
import { afterConfirmation, type FlowResponse, isSharedToken } from '../domain/flow-response.ts'
import { newUuid, type WorkspaceId } from '../domain/ids.ts'
import type { FlowCompletion } from '../domain/meta-webhook.ts'
import {
  type ConfirmableFlowResponse,
  claimFlowResponses,
  flowTokensOfMessages,
  loadLinked,
  storedFlowToken,
  writeConfirmed,
} from '../storage/completions.ts'
import type { SqlTransaction } from '../storage/database.ts'
import type { Account } from './directory.ts'
import type { Telling } from './teller.ts'

/** An `nfm_reply`, and who sent it. */
export interface Completed {
  readonly account: Account
  readonly completion: FlowCompletion
  readonly at: Date
  readonly client: Client | null
  readonly conversation: Conversation | null
  readonly channelId: string | null
}

/**
 * Completes flow responses in the transaction `tx`. Each is told once, at its first `nfm_reply`; without a flow token of one person there is no row,
 * and each message is told. `ignored`: how many named a flow token of somebody else.
 */
export async function confirmCompletions(
  tx: SqlTransaction,
  workspaceId: WorkspaceId,
  completed: readonly Completed[],
  now: Date,
): Promise<{ readonly tellings: Telling[]; readonly ignored: number }> {
  if (completed.length === 0) return { tellings: [], ignored: 0 }
  const named = await nameFlowTokens(tx, workspaceId, completed)
  const flowTokens = new Set(named.flatMap(({ flowToken }) => flowToken ?? []))
  const rows = await claimFlowResponses(tx, workspaceId, [...flowTokens], now)
  const linked = await loadLinkedOf(tx, workspaceId, [...rows.values()], completed)
  const changed = new Set<string>()
  const tellings: Telling[] = []
  let ignored = 0
  for (const { one, flowToken, isByMessage } of named) {
    const before = flowToken === null ? undefined : rows.get(flowToken)
    if (flowToken === null || before === undefined) {
      tellings.push(tellingOf(one, null, one, now))
      continue
    }
    const owner = ownerOf(before, linked)
    if (!isTheirs(before, owner, one.client, isByMessage)) {
      ignored++
      continue
    }
    const { confirmedAt, metaPhoneNumber } = before
    const after = {
      ...afterConfirmation(before, linksOf(one, owner), one.at),
      confirmedAt: confirmedAt ?? now,
      metaPhoneNumber,
    }
    rows.set(flowToken, after)
    changed.add(flowToken)
    if (before.confirmedAt === null) tellings.push(tellingOf(one, after, recordsOf(after, linked), now))
  }
  const written = [...rows].flatMap(([flowToken, row]) => (changed.has(flowToken) ? [row] : []))
  await writeConfirmed(tx, workspaceId, written, now)
  return { tellings, ignored }
}

interface Named {
  readonly one: Completed
  /** Null: there is none, or strangers share it. */
  readonly flowToken: string | null
  /** Meta named the message that sent it. */
  readonly isByMessage: boolean
}

/** By the message that sent the flow, else by the token that came back (protocol.md 5.3). */
async function nameFlowTokens(
  tx: SqlTransaction,
  workspaceId: WorkspaceId,
  completed: readonly Completed[],
): Promise<Named[]> {
  const messageIds = new Set(completed.flatMap(({ completion }) => completion.messageId ?? []))
  const tokenOf = await flowTokensOfMessages(tx, workspaceId, [...messageIds])
  return completed.map((one) => {
    const { messageId, flowToken } = one.completion
    const sent = tokenOf.get(messageId ?? '')
    if (sent !== undefined) return { one, flowToken: sent, isByMessage: true }
    const isOwn = flowToken !== null && !isSharedToken(flowToken)
    return { one, flowToken: isOwn ? storedFlowToken(flowToken) : null, isByMessage: false }
  })
}

type Linked = Awaited<ReturnType<typeof loadLinked>>

/** What the rows point to; the senders are at hand. */
async function loadLinkedOf(
  tx: SqlTransaction,
  workspaceId: WorkspaceId,
  rows: readonly FlowResponse[],
  completed: readonly Completed[],
): Promise<Linked> {
  const clientIds = rows.flatMap(({ clientId }) => clientId ?? [])
  const conversationIds = rows.flatMap(({ conversationId }) => conversationId ?? [])
  const isLinked = clientIds.length + conversationIds.length > 0
  const { clients, conversations } = isLinked
    ? await loadLinked(tx, workspaceId, clientIds, conversationIds)
    : { clients: new Map<string, Client>(), conversations: new Map<string, Conversation>() }
  for (const { client, conversation } of completed) {
    if (client !== null) clients.set(client.id, client)
    if (conversation !== null) conversations.set(conversation.id, conversation)
  }
  return { clients, conversations }
}

/** The row's client: a conversation alone says it too. */
function ownerOf({ clientId, conversationId }: FlowResponse, { conversations }: Linked): string | null {
  return clientId ?? conversations.get(conversationId ?? '')?.clientId ?? null
}

/** A sender without a phone number is nobody we know: then Meta's word for the message counts, and a token alone does not. */
function isTheirs(
  { metaPhoneNumber }: ConfirmableFlowResponse,
  owner: string | null,
  client: Client | null,
  isByMessage: boolean,
): boolean {
  if (owner === null) return true
  return client === null ? isByMessage : client.id === owner || client.phoneNumber === metaPhoneNumber
}

function linksOf({ account, completion, client, conversation, channelId }: Completed, owner: string | null) {
  return {
    flowId: onlyFlow(account)?.id ?? null,
    clientId: owner ?? client?.id ?? null,
    // The sender's, and so another client's where Meta knows the owner by another number.
    conversationId: owner === null || owner === client?.id ? (conversation?.id ?? null) : null,
    messageId: completion.messageId,
    channelId,
  }
}

/** Meta does not say which flow it was, and one without an endpoint can be completed too. */
function onlyFlow({ flows }: Account): Flow | null {
  return flows.length === 1 ? (flows[0] ?? null) : null
}

interface Records {
  readonly client: Client | null
  readonly conversation: Conversation | null
}

function recordsOf({ clientId, conversationId }: FlowResponse, { clients, conversations }: Linked): Records {
  return {
    client: clients.get(clientId ?? '') ?? null,
    conversation: conversations.get(conversationId ?? '') ?? null,
  }
}

function tellingOf(one: Completed, row: ConfirmableFlowResponse | null, records: Records, now: Date): Telling {
  const { account, completion, at } = one
  const { workspaceId, wabaId } = account
  const { client, conversation } = records
  const flow = row === null ? onlyFlow(account) : (account.flows.find(({ id }) => id === row.flowId) ?? null)
  const resourceId = row?.flowToken ?? completion.flowToken
  const about = { id: newUuid(now.getTime()), event: completedEvent, workspaceId, now, resourceId } as const
  const flowResponse = row && { ...row, completedAt: row.completedAt ?? at }
  const members = recordMembers(workspaceId, wabaId, resourceId, flow, { client, conversation, flowResponse })
  // The person did complete it, also where the row says EXPIRED or there is none.
  const isCompleted = members.flowResponse && { ...members.flowResponse, status: 'COMPLETED' }
  const data = { ...members, flowResponse: isCompleted, response: completion.response }
  const envelope = Buffer.from(buildNotice({ ...about, changes: null, data }))
  const clientId = client?.id ?? row?.clientId ?? null
  return { account, announcement: { ...about, flowId: flow?.id ?? null, clientId, envelope, plain: null } }
}
