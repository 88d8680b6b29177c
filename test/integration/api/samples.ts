import { newUuid } from '../../../src/domain/ids.ts'
import { deliveries, exchanges } from '../../../src/storage/schema.ts'
import type { Json, TestApi, TestWorkspace } from './api-app.ts'

/** One of each resource, in one workspace. */
export interface Records {
  readonly wabaId: string
  readonly channelId: string
  readonly flowId: string
  readonly webhookId: string
  readonly clientId: string
  readonly conversationId: string
  readonly flowResponseId: string
  readonly exchangeId: string
}

let counted = 0
export const nextNumber = () => String(++counted).padStart(9, '0')
export const nextPhoneNumber = () => `+5215${nextNumber()}`

export async function makeRecords(api: TestApi, workspace: TestWorkspace): Promise<Records> {
  const { wabaId } = await workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const id = async (path: string, body: Json): Promise<string> => (await workspace.make(path, body)).id
  const channelId = await id('/v1/channels', channelInput(wabaId))
  const flowId = await id('/v1/flows', { wabaId, metaFlowId: nextNumber() })
  const webhookId = await id('/v1/webhooks', webhookInput)
  const clientId = await id('/v1/clients', { phoneNumber: nextPhoneNumber() })
  const conversationId = await id('/v1/conversations', { clientId, channelId })
  const flowResponseId = await id('/v1/flow-responses', { flowToken: `token-${nextNumber()}` })
  const exchangeId = await insertExchange(api, workspace, { wabaId })
  return { wabaId, channelId, flowId, webhookId, clientId, conversationId, flowResponseId, exchangeId }
}

export function channelInput(wabaId: string) {
  return { wabaId, phoneNumberId: nextNumber(), phoneNumber: nextPhoneNumber() }
}

export const webhookInput = { name: 'test', url: 'https://tenant.test/', events: ['whatsapp.flows.exchanges'] }

/** Copies of a flow beside it, until its WABA has `total`. */
export async function fillWithFlows(api: TestApi, flow: { readonly id: string }, total: number): Promise<void> {
  await api.database.sql`
    insert into flows
    select (jsonb_populate_record(f, jsonb_build_object('id', 'flow_' || f.waba_id || n, 'meta_flow_id', 'copy-' || n))).*
    from flows f, generate_series(2, ${total}) n where f.id = ${flow.id}`
}

export async function insertExchange(
  api: TestApi,
  workspace: TestWorkspace,
  members: Partial<typeof exchanges.$inferInsert>,
): Promise<string> {
  const id = newUuid()
  const row = { workspaceId: workspace.id, id, createdAt: new Date(), wabaId: '1', ...members }
  await api.database.orm.insert(exchanges).values(row)
  return row.id
}

/** One that waits for its first attempt, of an event that an exchange was told by; its alarm is not set. */
export async function insertDelivery(
  api: TestApi,
  workspace: TestWorkspace,
  members: Partial<typeof deliveries.$inferInsert>,
): Promise<string> {
  const [id, now] = [newUuid(), new Date()]
  const row = {
    workspaceId: workspace.id,
    id,
    webhookId: 'wh_gone',
    eventId: newUuid(),
    event: 'whatsapp.flows.init' as const,
    occurredAt: now,
    envelope: Buffer.from('{}'),
    status: 'pending' as const,
    dueAt: now,
    createdAt: now,
    updatedAt: now,
  }
  await api.database.orm.insert(deliveries).values({ ...row, ...members })
  return id
}
