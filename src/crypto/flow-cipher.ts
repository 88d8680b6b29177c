import {
  constants,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type KeyObject,
  privateDecrypt,
  type RsaPrivateKey,
} from 'node:crypto'
import { decodeBase64 } from './base64.ts'
import { readJsonObject } from './json.ts'

const cipherName = 'aes-128-gcm'
const aesKeyBytes = 16
const tagBytes = 16

/** The outer body (protocol.md 1.2), its three strings decoded. */
export interface SealedRequest {
  readonly encryptedAesKey: Buffer
  readonly initialVector: Buffer
  readonly encryptedFlowData: Buffer
}

/** A decrypted request, with what its answer is sealed with. `flowKeyIndex`: which of the given keys opened it. */
export interface OpenedRequest {
  readonly plaintext: Buffer
  /** Of 16 bytes. */
  readonly aesKey: KeyObject
  readonly initialVector: Buffer
  readonly flowKeyIndex: number
}

/**
 * Reads the outer body. Null when it is not JSON in UTF-8, not an object, of more than 10,000 values, or one of the three members is missing, not
 * a string, empty, or not standard base64 with padding (protocol.md 1.2). Members of other names are ignored.
 */
export function readSealedRequest(body: Buffer): SealedRequest | null {
  const outer = readJsonObject(body)
  if (!outer) return null
  const encryptedAesKey = readBytes(outer.encrypted_aes_key)
  const initialVector = readBytes(outer.initial_vector)
  const encryptedFlowData = readBytes(outer.encrypted_flow_data)
  if (!encryptedAesKey || !initialVector || !encryptedFlowData) return null
  return { encryptedAesKey, initialVector, encryptedFlowData }
}

function readBytes(member: unknown): Buffer | null {
  return typeof member === 'string' && member !== '' ? decodeBase64(member) : null
}

/**
 * Opens a request with the first of `flowKeys` (RSA private keys, tried in order) that unwraps its AES key (protocol.md 1.3, 1.4).
 * Null when undecryptable: no key fits, a key not of 16 bytes, an IV of neither 16 nor 12, no byte besides the tag, a bad tag.
 * Never throws.
 */
export function openRequest(request: SealedRequest, flowKeys: readonly KeyObject[]): OpenedRequest | null {
  for (const [flowKeyIndex, flowKey] of flowKeys.entries()) {
    const aesKey = unwrapAesKey(request.encryptedAesKey, flowKey)
    if (!aesKey) continue
    // OAEP checks itself: a key that unwraps is the right one, and another could not do better with the data.
    const plaintext = decryptFlowData(request, aesKey)
    return plaintext && { plaintext, aesKey, initialVector: request.initialVector, flowKeyIndex }
  }
  return null
}

// Node takes `oaepHash` for MGF1 too, as Meta wants it (vector V1 holds it to that).
const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }

/**
 * Keys go to node:crypto as KeyObjects: Node 24 finds out that anything else is none by an exception with its stack, 30 µs for a buffer and 130 µs,
 * an eighth of the RSA operation, for the usual `{ key, padding, oaepHash }`. It reads the options off a KeyObject just as well.
 */
function unwrapAesKey(encryptedAesKey: Buffer, flowKey: KeyObject): KeyObject | null {
  // OpenSSL also takes a block whose leading zero bytes were cut off; RFC 8017 §7.1.2 and we do not.
  if (encryptedAesKey.length !== modulusBytesOf(flowKey)) return null
  try {
    const aesKey = privateDecrypt(
      Object.assign(flowKey, oaep) as KeyObject & Omit<RsaPrivateKey, 'key'>,
      encryptedAesKey,
    )
    return aesKey.length === aesKeyBytes ? createSecretKey(aesKey) : null
  } catch {
    return null
  }
}

const modulusBytes = new WeakMap<KeyObject, number>()

/** Kept: Node asks OpenSSL each time. */
function modulusBytesOf(flowKey: KeyObject): number {
  const known = modulusBytes.get(flowKey)
  if (known !== undefined) return known
  const bytes = Math.ceil((flowKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
  modulusBytes.set(flowKey, bytes)
  return bytes
}

function decryptFlowData({ initialVector, encryptedFlowData }: SealedRequest, aesKey: KeyObject): Buffer | null {
  // 16 bytes is what WhatsApp sends, 12 what some test clients do (protocol.md 1.4).
  if (initialVector.length !== 16 && initialVector.length !== 12) return null
  const tagStart = encryptedFlowData.length - tagBytes
  if (tagStart < 1) return null
  try {
    const decipher = createDecipheriv(cipherName, aesKey, initialVector, { authTagLength: tagBytes })
    decipher.setAuthTag(encryptedFlowData.subarray(tagStart))
    const plaintext = decipher.update(encryptedFlowData.subarray(0, tagStart))
    decipher.final() // throws on a bad tag; GCM keeps no bytes back for it
    return plaintext
  } catch {
    return null
  }
}

/**
 * The HTTP body for Meta: base64 of AES-128-GCM(answer) and its 16-byte tag, under the request's key and its IV with every bit
 * inverted (protocol.md 1.5). The same key and IV must never seal two different answers. Throws if the key is not 16 bytes.
 */
export function sealAnswer(answer: string | Uint8Array, aesKey: KeyObject, initialVector: Uint8Array): string {
  const cipher = createCipheriv(cipherName, aesKey, inverted(initialVector), { authTagLength: tagBytes })
  const ciphertext = typeof answer === 'string' ? cipher.update(answer, 'utf8') : cipher.update(answer)
  cipher.final()
  return Buffer.concat([ciphertext, cipher.getAuthTag()]).toString('base64')
}

function inverted(initialVector: Uint8Array): Uint8Array {
  return initialVector.map((byte) => byte ^ 0xff)
}
