import { createHmac } from 'node:crypto'
import postgres from 'postgres'
import { eventSchemas } from '../../src/domain/event-schemas.ts'
import type { TestRelevo } from './relevo.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests look into envelopes of many shapes
type Json = any

export interface WebhookAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface PostOptions {
  /** Posts to the route of that WABA's own Meta app. */
  readonly wabaId?: string
  /** In place of the right one; null: no header. */
  readonly signature?: string | null
}

/** Plays Meta's webhooks: signs the exact bytes under the app secret, as Meta does (protocol.md 1.6). */
export async function postEvents(
  relevo: Pick<TestRelevo, 'url'>,
  body: unknown,
  appSecret: string,
  { wabaId, signature }: PostOptions = {},
): Promise<WebhookAnswer> {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const signed = `sha256=${createHmac('sha256', appSecret).update(bytes).digest('hex')}`
  const header = signature === undefined ? signed : signature
  const path = wabaId === undefined ? '' : `/${wabaId}`
  const response = await fetch(`${relevo.url}/api/whatsapp/webhook${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(header === null ? {} : { 'x-hub-signature-256': header }) },
    body: new Uint8Array(bytes),
  })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

export const bodyOf = (...entry: object[]) => ({ object: 'whatsapp_business_account', entry })

export const entryOf = (wabaId: string, ...changes: object[]) => ({ id: wabaId, time: 1_790_000_000, changes })

let messages = 0

export interface MessageParts {
  readonly id?: string
  readonly from?: string
  readonly name?: string
  readonly phoneNumberId?: string
  /** Unix seconds. */
  readonly timestamp?: number
  /** Other members of the message. */
  readonly more?: object
}

/** A change with one message, as Meta delivers it: protocol.md 5.3. */
export function messageChange(parts: MessageParts = {}): object {
  const { from = '5215550001111', name = 'Person Example', phoneNumberId = '277321005464405', more = {} } = parts
  const { id = `wamid.TEST${++messages}`, timestamp = Math.floor(Date.now() / 1000) - 5 } = parts
  const text = { type: 'text', text: { body: 'Hello' } }
  return {
    field: 'messages',
    value: {
      messaging_product: 'whatsapp',
      metadata: { display_phone_number: '15550953877', phone_number_id: phoneNumberId },
      contacts: [{ profile: { name }, wa_id: from }],
      messages: [{ from, id, timestamp: String(timestamp), ...text, ...more }],
    },
  }
}

export interface ReplyParts extends MessageParts {
  readonly contextId?: string
  /** An object, or the exact text. */
  readonly response?: unknown
  readonly nfmName?: string
}

/** The message of a person who completed a flow. */
export function nfmReply({ contextId, response = {}, nfmName = 'flow', ...parts }: ReplyParts): object {
  const json = typeof response === 'string' ? response : JSON.stringify(response)
  const more = {
    ...(contextId === undefined ? {} : { context: { from: '15550953877', id: contextId } }),
    type: 'interactive',
    interactive: { type: 'nfm_reply', nfm_reply: { name: nfmName, body: 'Sent', response_json: json } },
  }
  return messageChange({ ...parts, more })
}

export const flowChange = (value: object) => ({ field: 'flows', value })

export interface TellTale {
  /** Envelopes of the deliveries made so far, oldest first, each held to its event's schema. */
  envelopes(webhookId?: string): Promise<Json[]>
  readonly sql: postgres.Sql
  close(): Promise<void>
}

/** Looks at what a Relevo would deliver, in its table. */
export function tellTale({ database }: TestRelevo): TellTale {
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined })
  return {
    sql,
    close: () => sql.end({ timeout: 1 }),
    async envelopes(webhookId) {
      const of = webhookId === undefined ? sql`` : sql`where webhook_id = ${webhookId}`
      const rows = await sql`select event, resource_id, envelope, flow_id, client_id from deliveries ${of} order by id`
      return rows.map((row) => {
        const envelope: Json = JSON.parse((row.envelope as Buffer).toString())
        const schema = eventSchemas[row.event as keyof typeof eventSchemas]
        if (JSON.stringify(schema.parse(envelope)) !== JSON.stringify(envelope)) throw new Error('unnamed members')
        if (row.event !== envelope.event || row.resource_id !== envelope.resourceId) throw new Error('row and envelope')
        if (row.flow_id !== envelope.data.flow.id) throw new Error('flow of row and envelope')
        return envelope
      })
    },
  }
}
