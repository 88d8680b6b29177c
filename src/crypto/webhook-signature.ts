import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'

const prefix = 'whsec_'
const base64 = /^[A-Za-z0-9+/]+={0,2}$/

/** A signing secret as the keys of both signatures. Made once and kept: a signature with a KeyObject takes 6 µs, with bytes 31. */
export interface SigningSecret {
  /** The secret's UTF-8 bytes. */
  readonly hmacKey: KeyObject
  /** The decoded base64 after `whsec_`, padded or not, as the published libraries read it; else the whole secret's UTF-8 bytes. */
  readonly standardHmacKey: KeyObject
}

/** A webhook's live signing secrets. `previous`: those in their grace period, newest first. */
export interface WebhookSigningSecrets {
  readonly current: SigningSecret | null
  readonly previous: readonly SigningSecret[]
}

export function readSigningSecret(secret: string): SigningSecret {
  const hmacKey = createSecretKey(Buffer.from(secret))
  const encoded = secret.startsWith(prefix) ? secret.slice(prefix.length) : ''
  return { hmacKey, standardHmacKey: isBase64(encoded) ? createSecretKey(encoded, 'base64') : hmacKey }
}

/** `X-Webhook-Signature`: `sha256=` and the hex HMAC-SHA256 of the raw body, keyed with the secret's UTF-8 bytes (contract.md §4). */
export function webhookSignature(body: Uint8Array, { hmacKey }: SigningSecret): string {
  return `sha256=${createHmac('sha256', hmacKey).update(body).digest('hex')}`
}

/**
 * `webhook-signature` of Standard Webhooks: one `v1,<base64 HMAC-SHA256>` per secret, space-separated, in the order given, over
 * `<id>.<unix seconds>.<body>`. The two values must be those of `webhook-id` and `webhook-timestamp`.
 */
export function standardWebhookSignature(
  id: string,
  timestampSeconds: number,
  body: Uint8Array,
  secrets: readonly SigningSecret[],
): string {
  const head = `${id}.${timestampSeconds}.`
  return secrets.map(({ standardHmacKey }) => `v1,${sign(standardHmacKey, head, body)}`).join(' ')
}

function sign(hmacKey: KeyObject, head: string, body: Uint8Array): string {
  return createHmac('sha256', hmacKey).update(head).update(body).digest('base64')
}

function isBase64(text: string): boolean {
  if (!base64.test(text)) return false
  const unpadded = text.replace(/=+$/, '')
  // One character alone is 6 bits: no byte. Padding, where there is any, must fill the group of four.
  return unpadded.length % 4 !== 1 && (text === unpadded || text.length % 4 === 0)
}

/** A new signing secret in the form of Standard Webhooks: `whsec_` and the base64 of 32 random bytes. */
export function generateWebhookSecret(): string {
  return prefix + randomBytes(32).toString('base64')
}
