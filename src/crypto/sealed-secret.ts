import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { MasterKey, MasterKeys } from './master-key.ts'

export { type MasterKey, MasterKeyInvalid, type MasterKeys, readMasterKeys } from './master-key.ts'

const cipherName = 'aes-256-gcm'
const format = 1
const headBytes = 5 // format, then the key version
const nonceBytes = 12
const tagBytes = 16
const inspected = Symbol.for('nodejs.util.inspect.custom')

/** A secret in memory. Prints as `***` in text, JSON, logs and inspection; only `reveal` gives it out. */
export class Secret {
  readonly #plain: string

  constructor(plain: string) {
    this.#plain = plain
  }

  reveal(): string {
    return this.#plain
  }

  toString(): string {
    return '***'
  }

  toJSON(): string {
    return '***'
  }

  [inspected](): string {
    return '***'
  }
}

/** Where a sealed secret belongs. It opens there only: a row copied over another, or into another workspace, does not. */
export interface SecretPlace {
  readonly purpose:
    | 'app_secret'
    | 'access_token'
    | 'flow_key'
    | 'webhook_secret'
    | 'webhook_headers'
    | 'verify_token'
    | 'idempotent_answer'
  readonly workspaceId: string
  readonly rowId: string
}

/**
 * Seals under the current master key: 1 byte format, 4 bytes key version, 12 bytes random nonce, AES-256-GCM ciphertext, 16 bytes tag
 * (contract.md §7). Two seals of one secret differ.
 */
export function sealSecret(plain: string | Uint8Array, place: SecretPlace, keys: MasterKeys): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUInt8(format)
  head.writeUInt32BE(keys.current.version, 1)
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv(cipherName, keys.current.bytes, nonce, { authTagLength: tagBytes })
  cipher.setAAD(boundTo(head, place))
  const ciphertext = typeof plain === 'string' ? cipher.update(plain, 'utf8') : cipher.update(plain)
  cipher.final()
  return Buffer.concat([head, nonce, ciphertext, cipher.getAuthTag()])
}

/**
 * Opens what sealSecret made, under the current key or a previous one. Null when no key has its version, or it was changed or moved
 * to another place. Never throws.
 */
export function openSecret(sealed: Uint8Array, place: SecretPlace, keys: MasterKeys): Buffer | null {
  const version = sealedKeyVersion(sealed)
  if (version === null) return null
  const bytes = asBuffer(sealed)
  for (const masterKey of [keys.current, ...keys.previous]) {
    const plain = masterKey.version === version ? openWith(masterKey, bytes, place) : null
    if (plain) return plain
  }
  return null
}

function openWith(masterKey: MasterKey, sealed: Buffer, place: SecretPlace): Buffer | null {
  const tagStart = sealed.length - tagBytes
  try {
    const nonce = sealed.subarray(headBytes, headBytes + nonceBytes)
    const decipher = createDecipheriv(cipherName, masterKey.bytes, nonce, { authTagLength: tagBytes })
    decipher.setAAD(boundTo(sealed.subarray(0, headBytes), place))
    decipher.setAuthTag(sealed.subarray(tagStart))
    const plain = decipher.update(sealed.subarray(headBytes + nonceBytes, tagStart))
    decipher.final()
    return plain
  } catch {
    return null
  }
}

/** The version of the master key that sealed this, or null when it is too short or of an unknown format. */
export function sealedKeyVersion(sealed: Uint8Array): number | null {
  if (sealed.byteLength < headBytes + nonceBytes + tagBytes || sealed[0] !== format) return null
  return asBuffer(sealed).readUInt32BE(1)
}

/** The additional data: each part after its length, so that no two places give the same bytes. */
function boundTo(head: Uint8Array, { purpose, workspaceId, rowId }: SecretPlace): Buffer {
  const parts = [purpose, workspaceId, rowId].map((part) => Buffer.from(part))
  return Buffer.concat([head, ...parts.flatMap((part) => [uint32(part.length), part])])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
