import { createHmac } from 'node:crypto'
import { equalBytes } from './digest.ts'

const headerLength = 'sha256='.length + 64

/** False: no secret can fit, and what came with it is worth nothing more. */
export function hasSignatureForm(header: string | undefined): header is string {
  return header?.length === headerLength
}

/**
 * Whether `header` (`X-Hub-Signature-256`: `sha256=` and 64 lower-case hex digits) is the HMAC-SHA256 of the bytes as received under
 * one of `appSecrets` (protocol.md 1.6). Constant time per secret. False without a header or without secrets; never throws.
 */
export function verifyMetaSignature(
  body: Uint8Array,
  header: string | undefined,
  appSecrets: readonly string[],
): boolean {
  if (!hasSignatureForm(header)) return false
  const given = Buffer.from(header)
  return appSecrets.some((appSecret) => isSignedWith(appSecret, body, given))
}

function isSignedWith(appSecret: string, body: Uint8Array, given: Buffer): boolean {
  // An empty secret is a slip of configuration that anyone could sign with.
  if (appSecret === '') return false
  const expected = `sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`
  return equalBytes(given, Buffer.from(expected))
}
