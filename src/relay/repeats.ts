import { sha256 } from '../crypto/digest.ts'
import type { SealedRequest } from '../crypto/flow-cipher.ts'

/** How long a call's answer is kept for a repetition, ms: contract.md §3. */
const keptMs = 10 * 60 * 1000
/** What all kept answers may weigh, in characters of base64, and how many they may be. */
const limits = { characters: 32 * 1024 * 1024, count: 50_000 }

/** What goes back to Meta: a status and base64 text, or an empty body. */
export interface MetaAnswer {
  readonly status: number
  readonly body: string
}

interface Kept<Facts> {
  readonly answer: Promise<MetaAnswer>
  readonly facts: Facts
  readonly until: number
  characters: number
}

/**
 * The answers of the last ten minutes by the exact ciphertext they answered. The same ciphertext must get the same bytes:
 * another answer under the same AES key and inverted IV would be GCM nonce reuse.
 */
export class Repeats<Facts> {
  // A Map keeps the order of insertion, so the first entry is the oldest.
  readonly #kept = new Map<string, Kept<Facts>>()
  readonly #now: () => number
  #characters = 0

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The name of a call's three strings, within one WABA: another WABA's keys must open it themselves. */
  static nameOf(wabaId: string, { encryptedAesKey, initialVector, encryptedFlowData }: SealedRequest): string {
    const lengths = `${wabaId} ${encryptedAesKey.length} ${initialVector.length} `
    return sha256(Buffer.concat([Buffer.from(lengths), encryptedAesKey, initialVector, encryptedFlowData])).toString(
      'base64',
    )
  }

  find(name: string): { readonly answer: Promise<MetaAnswer>; readonly facts: Facts } | null {
    const kept = this.#kept.get(name)
    return kept === undefined || kept.until <= this.#now() ? null : kept
  }

  /** Keeps the answer to come. `facts` are handed to whoever finds it. */
  keep(name: string, answer: Promise<MetaAnswer>, facts: Facts): void {
    this.#drop(name)
    const kept = { answer, facts, until: this.#now() + keptMs, characters: 0 }
    this.#kept.set(name, kept)
    answer.then(
      ({ body }) => {
        if (this.#kept.get(name) !== kept) return
        kept.characters = body.length
        this.#characters += body.length
        this.#trim()
      },
      () => this.#drop(name),
    )
  }

  get size(): number {
    return this.#kept.size
  }

  #trim(): void {
    for (const [name, kept] of this.#kept) {
      const full = this.#characters > limits.characters || this.#kept.size > limits.count
      if (!full && kept.until > this.#now()) return
      this.#drop(name)
    }
  }

  #drop(name: string): void {
    this.#characters -= this.#kept.get(name)?.characters ?? 0
    this.#kept.delete(name)
  }
}
