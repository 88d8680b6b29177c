import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { findChannel } from '../storage/channels.ts'
import { findClient } from '../storage/clients.ts'
import { findConversation } from '../storage/conversations.ts'
import type { Database } from '../storage/database.ts'
import { flowsExist } from '../storage/flows.ts'
import { wabaExists } from '../storage/wabas.ts'
import { findWebhook } from '../storage/webhooks.ts'

/** The row, or ApiError `not_found`. What belongs to another workspace is as absent as what never was. */
export function found<Row>(row: Row | null, what: string): Row {
  if (row === null) throw new ApiError('not_found', `there is no such ${what}`)
  return row
}

/** The WABA that a path names, or ApiError `not_found`. */
export async function requireWaba(database: Database, workspaceId: WorkspaceId, wabaId: string): Promise<void> {
  found((await wabaExists(database, workspaceId, wabaId)) || null, 'WABA')
}

/** Ids that a body or a filter may name, by the member that names them. */
export interface NamedIds {
  readonly wabaId?: string | undefined
  readonly flowId?: string | null | undefined
  readonly flowIds?: readonly string[] | null | undefined
  readonly channelId?: string | null | undefined
  readonly clientId?: string | null | undefined
  readonly conversationId?: string | null | undefined
  readonly webhookId?: string | undefined
}

/** Throws ApiError `not_found` for the first that is not in the workspace, naming its member. */
export async function requireNamed(database: Database, workspaceId: WorkspaceId, ids: NamedIds): Promise<void> {
  const must = async (member: keyof NamedIds, exists: PromiseLike<unknown>) => {
    if (!(await exists)) throw new ApiError('not_found', `${member}: there is no such id in this workspace`)
  }
  if (ids.wabaId) await must('wabaId', wabaExists(database, workspaceId, ids.wabaId))
  if (ids.flowId) await must('flowId', flowsExist(database, workspaceId, [ids.flowId]))
  if (ids.flowIds) await must('flowIds', flowsExist(database, workspaceId, ids.flowIds))
  if (ids.channelId) await must('channelId', findChannel(database, workspaceId, ids.channelId))
  if (ids.clientId) await must('clientId', findClient(database, workspaceId, ids.clientId))
  if (ids.conversationId) await must('conversationId', findConversation(database, workspaceId, ids.conversationId))
  if (ids.webhookId) await must('webhookId', findWebhook(database, workspaceId, ids.webhookId))
}
