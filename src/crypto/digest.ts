import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
// The largest multiple of 62 in a byte: what lies above is drawn again, so that every character is equally likely.
const unbiasedBelow = 248

/** SHA-256: 32 bytes. A string counts as its UTF-8 bytes. */
export function sha256(input: string | Uint8Array): Buffer {
  return hash('sha256', input, 'buffer')
}

/** Constant time for equal lengths; false at once when lengths differ. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b)
}

/** A random token of `[0-9A-Za-z]` that carries at least `bytes * 8` bits of entropy (32 bytes: 43 characters). */
export function randomToken(bytes: number): string {
  const length = Math.ceil((bytes * 8) / Math.log2(alphabet.length))
  let token = ''
  while (token.length < length) {
    for (const byte of randomBytes(length - token.length)) {
      if (byte < unbiasedBelow) token += alphabet[byte % alphabet.length]
    }
  }
  return token
}
