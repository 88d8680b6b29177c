import type { KeyObject } from 'node:crypto'
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { equalBytes, sha256 } from './digest.ts'
import { keyDerivationCost } from './key-derivation.ts'
import type { PemBlock } from './pem.ts'
import { formatPem, readPrivateKeyBlock } from './pem.ts'

// Meta asks for 2048 (protocol.md 1.3). An operation takes 8 times as long at twice the size: at 16,384 bits a tenant would hold the
// event loop for about 0.13 s per call (0.25 ms * 8^3).
const fewestBits = 2048
const mostBits = 4096
// 65,537 nearly always, 3 or 17 in old keys.
const highestExponent = 2n ** 32n
// 0.15 to 0.4 s of PBKDF2. OpenSSL writes 2,048 iterations; scrypt at its usual N=16384, r=8, p=1 counts 131,072.
const highestDerivationCost = 2 ** 20

/** A private key that cannot serve as a flow key. The message says why and never holds key material or the passphrase. */
export class FlowKeyUnreadable extends Error {
  override readonly name = 'FlowKeyUnreadable'
}

/**
 * Reads an RSA private key of 2048 to 4096 bits from PEM: PKCS#1 or PKCS#8, each plain or encrypted; indented, CRLF, quoted or with
 * `\n` written out. An empty passphrase counts as none; one that is not needed is ignored. With a passphrase it may take half a second:
 * not for the event loop. Throws FlowKeyUnreadable.
 */
export function readPrivateKey(pem: string, passphrase?: string): KeyObject {
  const block = readPrivateKeyBlock(pem)
  if (!block) throw new FlowKeyUnreadable(whyNoBlock(pem))
  const misfit = whyMisfit(block)
  if (misfit) throw new FlowKeyUnreadable(misfit)
  const flowKey = isEncrypted(block) ? decryptKey(block, passphrase) : parseKey(block)
  refuseUnfit(flowKey)
  if (!fitsTogether(flowKey) || !opensWhatItSeals(flowKey))
    throw new FlowKeyUnreadable('the private key is damaged: its parts do not fit together')
  return flowKey
}

function whyNoBlock(pem: string): string {
  if (/-----BEGIN [A-Z0-9 ]*PUBLIC KEY-----/.test(pem)) return 'this is a public key; the private key is needed'
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return 'this is a certificate; the private key is needed'
  return 'the private key is not PEM'
}

function whyMisfit({ label, dekInfo, der }: PemBlock): string | null {
  if (label === 'OPENSSH PRIVATE KEY') return 'the private key is in the format of OpenSSH; PKCS#1 or PKCS#8 is needed'
  // Only PKCS#1 has the old encryption. Around a PKCS#8 key it would hide from the check below what that one costs to open.
  if (label === 'RSA PRIVATE KEY') return null
  if (dekInfo !== null || (label !== 'PRIVATE KEY' && label !== 'ENCRYPTED PRIVATE KEY')) {
    return 'the private key is not RSA in PKCS#1 or PKCS#8'
  }
  const cost = keyDerivationCost(der) ?? 0
  if (cost === Number.POSITIVE_INFINITY) return 'the private key is damaged'
  return cost > highestDerivationCost ? 'the private key asks for too many rounds of key derivation' : null
}

function isEncrypted({ label, dekInfo, der }: PemBlock): boolean {
  return dekInfo !== null || (label !== 'RSA PRIVATE KEY' && keyDerivationCost(der) !== null)
}

function decryptKey(block: PemBlock, passphrase: string | undefined): KeyObject {
  if (!passphrase) throw new FlowKeyUnreadable('the private key is encrypted and its passphrase is missing')
  try {
    return createPrivateKey({ key: formatPem(block), passphrase })
  } catch (error) {
    throw new FlowKeyUnreadable(
      codeOf(error) === 'ERR_OSSL_EVP_UNSUPPORTED'
        ? 'the private key is encrypted with an outdated cipher; AES or 3DES is needed'
        : 'the passphrase of the private key is wrong, or the key is damaged',
    )
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

function parseKey(block: PemBlock): KeyObject {
  try {
    return createPrivateKey(formatPem(block))
  } catch {
    throw new FlowKeyUnreadable('the private key is damaged, or not what its first line says')
  }
}

function refuseUnfit(flowKey: KeyObject): void {
  if (flowKey.asymmetricKeyType !== 'rsa') throw new FlowKeyUnreadable('the private key is not RSA')
  const bits = flowKey.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < fewestBits) throw new FlowKeyUnreadable(`the private key is under ${fewestBits} bits`)
  if (bits > mostBits) throw new FlowKeyUnreadable(`the private key is over ${mostBits} bits`)
}

/**
 * Whether the parts are what RFC 8017 §3.2 makes of each other, and the exponent is one that keys have. OpenSSL works with others too: right, and 12
 * times as slow, which every call of that WABA would take from all others.
 */
function fitsTogether(flowKey: KeyObject): boolean {
  const jwk = flowKey.export({ format: 'jwk' })
  const number = (part: string | undefined) => BigInt(`0x0${Buffer.from(part ?? '', 'base64url').toString('hex')}`)
  const [n, e, d, p, q] = [number(jwk.n), number(jwk.e), number(jwk.d), number(jwk.p), number(jwk.q)]
  if (e > highestExponent || d >= n || p < 2n || q < 2n || p * q !== n) return false
  return number(jwk.dp) === d % (p - 1n) && number(jwk.dq) === d % (q - 1n) && (number(jwk.qi) * q) % p === 1n
}

/** OpenSSL parses a key with a digit changed and then opens nothing with it; better said at import than by 421 in production. */
function opensWhatItSeals(flowKey: KeyObject): boolean {
  const probe = randomBytes(16)
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
  try {
    const sealed = publicEncrypt({ key: createPublicKey(flowKey), ...oaep }, probe)
    return equalBytes(privateDecrypt({ key: flowKey, ...oaep }, sealed), probe)
  } catch {
    return false
  }
}

/** A new RSA-2048 key, made off the event loop (50 to 500 ms). */
export function generatePrivateKey(): Promise<KeyObject> {
  return new Promise((resolve, reject) => {
    generateKeyPair('rsa', { modulusLength: fewestBits }, (error, _publicKey, privateKey) => {
      if (error) reject(error)
      else resolve(privateKey)
    })
  })
}

/** PKCS#8 in DER, unencrypted: for sealing only. */
export function exportPrivateKey(flowKey: KeyObject): Buffer {
  return flowKey.export({ type: 'pkcs8', format: 'der' })
}

/** The inverse of exportPrivateKey. Throws FlowKeyUnreadable. */
export function importPrivateKey(der: Uint8Array): KeyObject {
  const flowKey = parseDer(Buffer.from(der.buffer, der.byteOffset, der.byteLength))
  refuseUnfit(flowKey)
  return flowKey
}

function parseDer(der: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } catch {
    throw new FlowKeyUnreadable('the stored private key is damaged')
  }
}

/** PKCS#8 in PEM; with a passphrase that is not empty, encrypted under AES-256-CBC (PBES2). */
export function exportPrivateKeyPem(flowKey: KeyObject, passphrase?: string): string {
  const encryption = passphrase ? { cipher: 'aes-256-cbc', passphrase } : {}
  return flowKey.export({ type: 'pkcs8', format: 'pem', ...encryption }).toString()
}

/** The public half as Meta takes it: SPKI in PEM, `-----BEGIN PUBLIC KEY-----`. */
export function publicKeyPem(flowKey: KeyObject): string {
  return createPublicKey(flowKey).export({ type: 'spki', format: 'pem' }).toString()
}

/** Lower-case hex of the SHA-256 of the public half's SPKI DER. */
export function publicKeyFingerprint(flowKey: KeyObject): string {
  return sha256(createPublicKey(flowKey).export({ type: 'spki', format: 'der' })).toString('hex')
}
