import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  createSecretKey,
  type KeyObject,
  publicEncrypt,
  type RsaPublicKey,
  randomBytes,
} from 'node:crypto'
import { BadInput } from './bad-input.ts'

const tagBytes = 16
// "That string alone is the HTTP body" (protocol.md 1.5): no quotes, no line breaks, standard alphabet, padded.
const bareBase64 = /^[A-Za-z0-9+/]+={0,2}$/

/** The key and IV of one request; the answer is sealed with the same key (protocol.md 1.5). */
export type SessionKey = { aesKey: Buffer; iv: Buffer }

/** An opened answer's JSON text, or why it could not be opened. */
export type OpenedAnswer = { ok: true; text: string } | { ok: false; problem: string }

export type SealedRequest = {
  /** The outer JSON as Meta writes it. All ASCII. */
  body: string
  /** Value of `X-Hub-Signature-256`. */
  signature: string
  /** Opens the body that was answered to this request. */
  openAnswer(body: string): OpenedAnswer
}

/** Reads an endpoint's public key (SPKI PEM, RSA). Throws BadInput with the reason. */
export function readPublicKey(pem: string): KeyObject {
  if (pem.includes('PRIVATE KEY')) throw new BadInput('holds a private key; give the public one')
  let publicKey: KeyObject
  try {
    publicKey = createPublicKey(pem)
  } catch {
    throw new BadInput('is not a public key in PEM form (-----BEGIN PUBLIC KEY-----)')
  }
  if (publicKey.asymmetricKeyType !== 'rsa') throw new BadInput('is not an RSA key')
  return publicKey
}

/** Seals one plaintext as the client and Meta do: fresh key and IV, wrapped, serialised, signed (protocol.md 1.2 to 1.6). */
export function sealRequest(plaintext: string, publicKey: KeyObject, appSecret: string): SealedRequest {
  const session = { aesKey: randomBytes(16), iv: randomBytes(16) }
  const body = writeOuter({
    encrypted_flow_data: sealText(plaintext, session).toString('base64'),
    encrypted_aes_key: wrapKey(session.aesKey, publicKey).toString('base64'),
    initial_vector: session.iv.toString('base64'),
  })
  return { body, signature: signBody(body, appSecret), openAnswer: (answer) => openAnswer(answer, session) }
}

/** AES-128-GCM without additional data, the 16-byte tag behind the ciphertext (protocol.md 1.4). */
export function sealText(plaintext: string, session: SessionKey): Buffer {
  return sealBytes(Buffer.from(plaintext), session)
}

/** The same for bytes that need not be text. */
export function sealBytes(plaintext: Uint8Array, { aesKey, iv }: SessionKey): Buffer {
  const cipher = createCipheriv('aes-128-gcm', createSecretKey(aesKey), iv)
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }

/**
 * RSA-OAEP with SHA-256 for hash and MGF1, empty label (protocol.md 1.3). Node takes MGF1's hash from `oaepHash`. Keys go to it as KeyObjects, with the options on
 * them: src/crypto/flow-cipher.ts says why.
 */
export function wrapKey(aesKey: Buffer, publicKey: KeyObject): Buffer {
  return publicEncrypt(Object.assign(publicKey, oaep) as KeyObject & Omit<RsaPublicKey, 'key'>, aesKey)
}

/** Meta's serialiser escapes every slash as `\/` (protocol.md 1.6): base64 is full of them. */
export function writeOuter(
  outer: Record<'encrypted_flow_data' | 'encrypted_aes_key' | 'initial_vector', string>,
): string {
  return JSON.stringify(outer).replaceAll('/', '\\/')
}

/** `sha256=` and the lower-case hex HMAC-SHA256 of the body's bytes under the app secret (protocol.md 1.6). */
export function signBody(body: string, appSecret: string): string {
  return `sha256=${createHmac('sha256', appSecret).update(body, 'utf8').digest('hex')}`
}

/** Opens an answer with the request's key and its IV, every bit inverted (protocol.md 1.5). Never throws. */
export function openAnswer(body: string, { aesKey, iv }: SessionKey): OpenedAnswer {
  if (body.length % 4 !== 0 || !bareBase64.test(body)) return { ok: false, problem: 'the body is not bare base64' }
  const sealed = Buffer.from(body, 'base64')
  if (sealed.length < tagBytes) return { ok: false, problem: 'the body is shorter than an authentication tag' }
  const decipher = createDecipheriv('aes-128-gcm', createSecretKey(aesKey), invertBits(iv), { authTagLength: tagBytes })
  decipher.setAuthTag(sealed.subarray(-tagBytes))
  try {
    const plaintext = Buffer.concat([decipher.update(sealed.subarray(0, -tagBytes)), decipher.final()])
    return { ok: true, text: new TextDecoder('utf-8', { fatal: true }).decode(plaintext) }
  } catch (error) {
    if (error instanceof TypeError) return { ok: false, problem: 'the decrypted answer is not UTF-8' }
    return { ok: false, problem: "the body does not decrypt with the request's key and inverted IV" }
  }
}

export function invertBits(iv: Buffer): Buffer {
  return Buffer.from(iv.map((byte) => byte ^ 0xff))
}
