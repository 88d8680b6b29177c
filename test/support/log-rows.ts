import type postgres from 'postgres'
import { sha256 } from '../../src/crypto/digest.ts'
import { newId, newUuid } from '../../src/domain/ids.ts'

/** Rows of the partitioned tables as they stand after their time, made at `at`, with something in every column that holds a payload. */

export interface ExchangeSample {
  readonly at?: Date
  readonly id?: string
  readonly flowToken?: string | null
  readonly clientId?: string | null
  readonly outcome?: string | null
}

export async function insertExchange(
  sql: postgres.Sql,
  workspaceId: string,
  { at = new Date(), id = uuidAt(at), flowToken = null, clientId = null, outcome = 'replied' }: ExchangeSample = {},
): Promise<string> {
  await sql`insert into exchanges ${sql({
    workspace_id: workspaceId,
    id,
    created_at: at,
    waba_id: '1',
    event: 'whatsapp.flows.init',
    action: 'init',
    screen: 'FIRST',
    flow_token: flowToken,
    flow_token_digest: flowToken === null ? null : sha256(flowToken),
    client_id: clientId,
    outcome,
    duration_ms: 12.5,
    envelope: Buffer.from('{"an":"envelope"}'),
    answer: Buffer.from('{"screen":"NEXT"}'),
    answer_screen: 'NEXT',
  })}`
  return id
}

export interface DeliverySample {
  readonly at?: Date
  readonly id?: string
  readonly flowToken?: string | null
  readonly clientId?: string | null
  readonly status?: 'pending' | 'failed' | 'delivered' | 'exhausted'
  readonly envelope?: string
  readonly webhookId?: string
}

export async function insertDelivery(
  sql: postgres.Sql,
  workspaceId: string,
  {
    at = new Date(),
    id = uuidAt(at),
    flowToken = null,
    clientId = null,
    status = 'delivered',
    envelope = '{}',
    webhookId = newId('webhook'),
  }: DeliverySample = {},
): Promise<string> {
  await sql`insert into deliveries ${sql({
    workspace_id: workspaceId,
    id,
    webhook_id: webhookId,
    event_id: newUuid(),
    event: 'whatsapp.flows.init',
    resource_id: flowToken,
    occurred_at: at,
    envelope: Buffer.from(envelope),
    client_id: clientId,
    flow_token_digest: flowToken === null ? null : sha256(flowToken),
    status,
    due_at: status === 'pending' || status === 'failed' ? at : null,
    created_at: at,
    updated_at: at,
  })}`
  return id
}

export interface AttemptSample {
  readonly at?: Date
  readonly id?: string
  readonly deliveryId: string
  readonly body?: string
}

export async function insertAttempt(
  sql: postgres.Sql,
  workspaceId: string,
  { at = new Date(), id = uuidAt(at), deliveryId, body = 'an answer' }: AttemptSample,
): Promise<string> {
  await sql`insert into attempts ${sql({
    workspace_id: workspaceId,
    id,
    delivery_id: deliveryId,
    number: 1,
    status: 500,
    duration_ms: 3,
    bytes: 4,
    response_headers: JSON.stringify({ 'x-echo': body }),
    response_body: Buffer.from(body),
    created_at: at,
  })}`
  return id
}

let made = 0

/** newUuid counts on within a process and cannot go back. */
function uuidAt(at: Date): string {
  const hex = at.getTime().toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${(++made).toString(16).padStart(12, '0')}`
}
