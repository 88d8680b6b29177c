/** What a prefixed id can stand for, by its prefix. */
export const idPrefixes = {
  workspace: 'ws',
  apiKey: 'key',
  appSecret: 'as',
  flowKey: 'fk',
  channel: 'ch',
  flow: 'flow',
  client: 'client',
  conversation: 'conv',
  flowResponse: 'fr',
  webhook: 'wh',
  webhookSecret: 'whs',
} as const

export type IdKind = keyof typeof idPrefixes

declare const workspaceBrand: unique symbol

/** `ws_…`. Branded, so that no query can be given another kind of string as its tenant. */
export type WorkspaceId = string & { readonly [workspaceBrand]: true }

// Crockford's base32 in lower case: ids sort as the bytes do, in every collation.
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** A new id of a kind: prefix, underscore, 26 characters of a UUIDv7, so that newer ids sort after older ones. */
export function newId(kind: IdKind): string {
  return `${idPrefixes[kind]}_${base32(uuidV7Bytes(Date.now()))}`
}

export function newWorkspaceId(): WorkspaceId {
  return newId('workspace') as WorkspaceId
}

/** A UUIDv7 (RFC 9562) in its canonical text form: exchange and envelope ids. Ids of one process sort in the order they were made. */
export function newUuid(unixMs: number = Date.now()): string {
  let hex = ''
  for (const byte of uuidV7Bytes(unixMs)) hex += hexOf[byte]
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The pattern of a kind's ids, for schemas. */
export function idPattern(kind: IdKind): RegExp {
  return new RegExp(`^${idPrefixes[kind]}_[${alphabet}]{26}$`)
}

const hexOf = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

// Random bytes are drawn for many ids at once: a call for each cost more than all else that an id takes.
const drawn = new Uint8Array(4096)
let usedTo = drawn.length

/** Random bytes that nobody had before; at most 4096. */
function randomBytes(count: number): Uint8Array {
  if (usedTo + count > drawn.length) {
    crypto.getRandomValues(drawn)
    usedTo = 0
  }
  usedTo += count
  return drawn.slice(usedTo - count, usedTo)
}

let lastMs = 0
let sequence = 0

/** RFC 9562 §6.2 method 1: the 12 bits after the time count up within one millisecond, so that order holds inside a process. */
function uuidV7Bytes(unixMs: number): Uint8Array {
  if (unixMs > lastMs) {
    lastMs = unixMs
    sequence = randomBits(11)
  } else if (++sequence > 0xfff) {
    lastMs++
    sequence = 0
  }
  const bytes = randomBytes(16)
  const high = Math.floor(lastMs / 2 ** 32)
  bytes.set([high >>> 8, high, lastMs >>> 24, lastMs >>> 16, lastMs >>> 8, lastMs])
  bytes[6] = 0x70 | (sequence >>> 8)
  bytes[7] = sequence & 0xff
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  return bytes
}

function randomBits(count: number): number {
  const [high = 0, low = 0] = randomBytes(2)
  return ((high << 8) | low) & (2 ** count - 1)
}

function base32(bytes: Uint8Array): string {
  let text = ''
  let pending = 0
  let bits = 0
  for (const byte of bytes) {
    pending = (pending << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += alphabet[(pending >>> bits) & 31]
    }
    pending &= 2 ** bits - 1
  }
  return text + alphabet[(pending << (5 - bits)) & 31]
}
