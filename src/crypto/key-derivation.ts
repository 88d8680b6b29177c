// 1.3.6.1.4.1.11591.4.11 (RFC 7914 §7), as an OBJECT IDENTIFIER is encoded.
const scryptOid = Buffer.from('06092b06010401da47040b', 'hex')
const sequenceTag = 0x30
const integerTag = 0x02
const constructedBit = 0x20
const deepest = 8

interface Element {
  readonly tag: number
  readonly content: Buffer
  readonly end: number
}

/**
 * How much work a PKCS#8 key in DER asks for before its passphrase can be tried: PBKDF2's iterations, or scrypt's N * r * p. Null when
 * it is not encrypted; Infinity when that cannot be told. OpenSSL has no bound of its own and cannot be stopped: one key of
 * 2^31 iterations would keep its thread for a quarter of an hour.
 */
export function keyDerivationCost(der: Buffer): number | null {
  try {
    // PrivateKeyInfo and RSAPrivateKey begin with a version number, EncryptedPrivateKeyInfo with its algorithm (RFC 5958 §3).
    const algorithm = readElement(readElement(der, 0).content, 0)
    return algorithm.tag === sequenceTag ? costOf(algorithm.content) : null
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

function costOf(algorithm: Buffer): number {
  const integers = integersIn(algorithm, 0)
  if (!algorithm.includes(scryptOid)) return Math.max(...integers)
  return integers.slice(0, 3).reduce((cost, parameter) => cost * Math.max(1, parameter), 1)
}

function integersIn(content: Buffer, depth: number): number[] {
  if (depth > deepest) throw new RangeError('nested too deep')
  const integers: number[] = []
  for (let offset = 0; offset < content.length; ) {
    const element = readElement(content, offset)
    if (element.tag === integerTag) integers.push(unsigned(element.content))
    if (element.tag & constructedBit) integers.push(...integersIn(element.content, depth + 1))
    offset = element.end
  }
  return integers
}

/** Definite lengths only, as DER has them. OpenSSL would take BER's indefinite ones: a way around the bound. */
function readElement(der: Buffer, offset: number): Element {
  const tag = der.readUInt8(offset)
  const first = der.readUInt8(offset + 1)
  const lengthBytes = first & 0x80 ? first & 0x7f : 0
  const start = offset + 2 + lengthBytes
  const length = first & 0x80 ? der.readUIntBE(offset + 2, lengthBytes) : first
  if (start + length > der.length) throw new RangeError('cut short')
  return { tag, content: der.subarray(start, start + length), end: start + length }
}

function unsigned(content: Buffer): number {
  return content.length > 6 ? Number.POSITIVE_INFINITY : content.readUIntBE(0, content.length)
}
