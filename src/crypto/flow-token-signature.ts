import { createHmac } from 'node:crypto'
import { decodeBase64Url } from './base64.ts'
import { equalBytes } from './digest.ts'
import { readJsonObject } from './json.ts'

export type TokenSignature = 'verified' | 'invalid' | 'absent'

/**
 * Judges `flow_token_signature` (protocol.md 2.4): a compact JWT, HS256 under a Meta app secret, whose claim `flow_token` is the
 * request's. `absent` when undefined, null or ''; `invalid` for anything else that does not prove the token. Times in it are not
 * judged: Meta does not say which it carries. Never throws.
 */
export function verifyFlowTokenSignature(
  jwt: unknown,
  flowToken: string | null,
  appSecrets: readonly string[],
): TokenSignature {
  if (jwt === undefined || jwt === null || jwt === '') return 'absent'
  if (typeof jwt !== 'string' || flowToken === null) return 'invalid'
  const [header, claims, signature, ...rest] = jwt.split('.', 4)
  if (header === undefined || claims === undefined || signature === undefined || rest.length > 0) return 'invalid'
  if (!isHs256(header)) return 'invalid'
  if (!appSecrets.some((appSecret) => isSignedWith(appSecret, `${header}.${claims}`, signature))) return 'invalid'
  return readSegment(claims)?.flow_token === flowToken ? 'verified' : 'invalid'
}

/** Meta's has 36 characters. It is read before anything proves whose it is. */
const longestHeader = 1024

/** `crit` names extensions a reader must understand (RFC 7515 §4.1.11); we understand none. */
function isHs256(header: string): boolean {
  if (header.length > longestHeader) return false
  const fields = readSegment(header)
  return fields?.alg === 'HS256' && !('crit' in fields)
}

function isSignedWith(appSecret: string, signed: string, signature: string): boolean {
  if (appSecret === '') return false
  const expected = createHmac('sha256', appSecret).update(signed).digest('base64url')
  return equalBytes(Buffer.from(signature), Buffer.from(expected))
}

function readSegment(segment: string): Readonly<Record<string, unknown>> | null {
  const bytes = decodeBase64Url(segment)
  return bytes && readJsonObject(bytes)
}
