import { decodeBase64 } from './base64.ts'
import { sha256 } from './digest.ts'

const masterKeyBytes = 32

/** `current` seals and opens; `previous` only open. */
export interface MasterKeys {
  readonly current: MasterKey
  readonly previous: readonly MasterKey[]
}

/** `version`: the first 4 bytes of the SHA-256 of the 32 key bytes, as a uint32; it names the key without telling it. */
export interface MasterKey {
  readonly version: number
  readonly bytes: Buffer
}

/** A master key that is not base64 of 32 bytes. The message names the variable, never the value. */
export class MasterKeyInvalid extends Error {
  override readonly name = 'MasterKeyInvalid'
}

/**
 * Reads `MASTER_KEY` and the entries of `MASTER_KEYS_PREVIOUS` (contract.md §2), each base64 of exactly 32 bytes; space around is
 * ignored. Throws one MasterKeyInvalid that names all that are wrong.
 */
export function readMasterKeys(current: string, previous: readonly string[] = []): MasterKeys {
  const first = readMasterKey(current)
  const others = previous.map(readMasterKey)
  const wrong = others.flatMap((other, index) => (other ? [] : [`entry ${index + 1} of MASTER_KEYS_PREVIOUS`]))
  if (!first) wrong.unshift('MASTER_KEY')
  if (!first || wrong.length > 0) throw new MasterKeyInvalid(`not base64 of 32 bytes: ${wrong.join(', ')}`)
  return { current: first, previous: others.filter((other) => other !== null) }
}

function readMasterKey(encoded: string): MasterKey | null {
  const bytes = decodeBase64(encoded.trim())
  return bytes?.length === masterKeyBytes ? new HiddenMasterKey(bytes) : null
}

/** JSON does not look behind a getter of the class; inspection can be asked to, so it is answered here. */
class HiddenMasterKey implements MasterKey {
  readonly version: number
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.version = sha256(bytes).readUInt32BE()
    this.#bytes = bytes
  }

  get bytes(): Buffer {
    return this.#bytes
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `MasterKey(${this.version})`
  }
}
