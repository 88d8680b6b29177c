import { and, eq, sql } from 'drizzle-orm'
import { ApiError } from '../domain/errors.ts'
import { defaultLifetimeMs } from '../domain/flow-response.ts'
import { newId, type WorkspaceId } from '../domain/ids.ts'
import { clientIdOf } from './clients.ts'
import { type Queryable, storing, transaction } from './database.ts'
import { digestOf, type SendStatus, type StoredFlowResponse } from './flow-responses.ts'
import { flowResponses } from './schema.ts'

/** A flow that is about to be sent. */
export interface NewSend {
  readonly flowToken: string
  readonly flowId: string
  readonly recipient: { readonly clientId: string } | { readonly phoneNumber: string }
  readonly channelId: string
  readonly conversationId: string | null
  readonly campaignId: string | null
  readonly agentId: string | null
  /** Null: 24 h from when it is sent. */
  readonly expiresAt: Date | null
}

/** Longer than any call to Graph takes: whose end is not recorded by then has lost its process. */
const longestSendMs = 60_000

/**
 * Makes the client, if there is none, and the flow response in one transaction, before Meta is called: an answer that is lost leaves
 * a row. A flow token that has a row may be sent again only if its last call did not surely send it and nobody opened it. Returns
 * the row's id. Throws ApiError `already_exists`.
 */
export function beginSend(queryable: Queryable, workspaceId: WorkspaceId, send: NewSend): Promise<string> {
  const { flowToken, recipient, expiresAt, ...links } = send
  const now = new Date()
  return transaction(queryable, 'begin send', async (tx) => {
    const members = {
      ...links,
      clientId: 'clientId' in recipient ? recipient.clientId : await clientIdOf(tx, workspaceId, recipient.phoneNumber),
      sendStatus: 'sending' as const,
      sentAt: null,
      messageId: null,
      metaPhoneNumber: null,
      expiresAt: expiresAt ?? new Date(now.getTime() + defaultLifetimeMs),
      updatedAt: now,
    }
    const [row] = await tx.orm
      .insert(flowResponses)
      .values({
        ...members,
        workspaceId,
        id: newId('flowResponse'),
        flowToken,
        flowTokenDigest: digestOf(flowToken),
        status: 'SENT',
        createdAt: now,
      })
      .onConflictDoUpdate({
        target: [flowResponses.workspaceId, flowResponses.flowTokenDigest],
        set: members,
        setWhere: mayBeSentAgain(send.flowId, now),
      })
      .returning({ id: flowResponses.id })
    if (row === undefined) throw new ApiError('already_exists', 'flowToken: there is a flow response with it')
    return row.id
  })
}

function mayBeSentAgain(flowId: string, now: Date) {
  const { status, sendStatus, updatedAt } = flowResponses
  const isLost = sql`${sendStatus} = 'sending' and ${updatedAt} < ${lostBefore(now).toISOString()}::timestamptz`
  const isUnsure = sql`${sendStatus} in ('failed', 'unknown') or ${isLost}`
  return sql`${flowResponses.flowId} = ${flowId} and ${status} = 'SENT' and (${isUnsure})`
}

function lostBefore(now: Date): Date {
  return new Date(now.getTime() - longestSendMs)
}

/** How the call ended. `unknown`: Meta may have sent the flow and may not. */
export type SendEnd =
  | {
      readonly sendStatus: 'sent'
      readonly messageId: string
      /** Whom Meta sent it to, where that is another number than the client's. */
      readonly metaPhoneNumber: string | null
      readonly sentAt: Date
      readonly expiresAt?: Date
    }
  | { readonly sendStatus: 'failed' | 'unknown' }

export function recordSendEnd(queryable: Queryable, workspaceId: WorkspaceId, id: string, end: SendEnd): Promise<void> {
  return storing('record send', async () => {
    await queryable.orm
      .update(flowResponses)
      .set({ ...end, updatedAt: sql`now()` })
      .where(and(eq(flowResponses.workspaceId, workspaceId), eq(flowResponses.id, id)))
  })
}

/** The send status to show: a call whose process died before it could record the end is not under way for ever. */
export function sendStatusOf({ sendStatus, updatedAt }: StoredFlowResponse, now: Date = new Date()): SendStatus | null {
  return sendStatus === 'sending' && updatedAt < lostBefore(now) ? 'unknown' : sendStatus
}
