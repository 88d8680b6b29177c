import { isObject, type JsonObject } from '../domain/json.ts'
import { succeeded } from './answer.ts'
import type { Graph } from './client.ts'
import { failed, type GraphResult, unreadable } from './problem.ts'

/** `MISMATCH`: Meta holds another key, or its signature of ours is not in order (protocol.md 4.1). */
export type KeyStatus = 'VALID' | 'MISMATCH'

export interface FlowKeyUpload {
  readonly phoneNumberId: string
  /** SPKI PEM: clients strip exactly its header and footer (protocol.md 4.1). */
  readonly publicKey: string
  readonly accessToken: string
}

/** Hands the key to Meta for one phone number, then asks which key Meta holds for it. */
export async function publishFlowKey(graph: Graph, upload: FlowKeyUpload): Promise<GraphResult<KeyStatus>> {
  const { phoneNumberId, publicKey, accessToken } = upload
  const path = [phoneNumberId, 'whatsapp_business_encryption']
  const body = { business_public_key: publicKey }
  const uploaded = succeeded(await graph.call({ method: 'POST', path, body, accessToken }))
  if (!uploaded.ok) return uploaded
  return checkFlowKey(graph, { phoneNumberId, accessToken, publicKeys: [publicKey] })
}

export interface FlowKeyCheck {
  readonly phoneNumberId: string
  /** Ours, SPKI PEM: any of them may be the one that Meta holds. */
  readonly publicKeys: readonly string[]
  readonly accessToken: string
}

/** Asks which key Meta holds for a phone number. */
export async function checkFlowKey(graph: Graph, check: FlowKeyCheck): Promise<GraphResult<KeyStatus>> {
  const { phoneNumberId, publicKeys, accessToken } = check
  const path = [phoneNumberId, 'whatsapp_business_encryption']
  const read = await graph.call({ method: 'GET', path, accessToken })
  if (!read.ok) return read
  const held = heldKey(read.value)
  if (held === null) return failed(unreadable(200))
  const isValid = publicKeys.some((publicKey) => statusOf(held, publicKey) === 'VALID')
  return { ok: true, value: isValid ? 'VALID' : 'MISMATCH' }
}

/** Meta's page shows the bare object, its Postman collection and reports from the field a list with it (protocol.md 4.1). */
function heldKey(answer: JsonObject): JsonObject | null {
  const first = Array.isArray(answer.data) ? answer.data[0] : answer
  return isObject(first) && typeof first.business_public_key_signature_status === 'string' ? first : null
}

function statusOf(held: JsonObject, publicKey: string): KeyStatus {
  const isOurs = held.business_public_key === undefined || packed(held.business_public_key) === packed(publicKey)
  return isOurs && held.business_public_key_signature_status === 'VALID' ? 'VALID' : 'MISMATCH'
}

/** Line ends of a PEM do not always survive the way. */
function packed(pem: unknown): string | null {
  return typeof pem === 'string' ? pem.replace(/\s/g, '') : null
}
