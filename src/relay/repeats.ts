import { sha256 } from '../crypto/digest.ts'
import type { SealedRequest } from '../crypto/flow-cipher.ts'
import { type FlowRequest, withoutContents } from '../domain/exchange.ts'

/** How long a call's answer is kept for a repetition, ms: contract.md §3. */
const keptMs = 10 * 60 * 1000
/** What all kept answers and their facts may weigh, in characters, and how many they may be. */
const limits = { characters: 32 * 1024 * 1024, count: 50_000 }

/** What goes back to Meta: a status and base64 text, or an empty body. */
export interface MetaAnswer {
  readonly status: number
  readonly body: string
}

interface Kept {
  readonly answer: Promise<MetaAnswer>
  readonly facts: FlowRequest
  readonly until: number
  characters: number
}

/**
 * The answers of the last ten minutes by the exact ciphertext they answered. The same ciphertext must get the same bytes:
 * another answer under the same AES key and inverted IV would be GCM nonce reuse.
 */
export class Repeats {
  readonly #kept = new Map<string, Kept>()
  /** In the order of insertion. One walk that goes on: each from the start passes all that was deleted since the Map last grew, up to 100 µs of it. */
  #walk = this.#kept.entries()
  #oldest: [string, Kept] | undefined
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

  find(name: string): { readonly answer: Promise<MetaAnswer>; readonly facts: FlowRequest } | null {
    const kept = this.#kept.get(name)
    return kept === undefined || kept.until <= this.#now() ? null : kept
  }

  /** Keeps the answer to come. Whoever finds it is handed the request's facts, without its contents: these can be a megabyte. */
  keep(name: string, answer: Promise<MetaAnswer>, request: FlowRequest): void {
    this.#drop(name)
    const facts = withoutContents(request)
    const kept = { answer, facts, until: this.#now() + keptMs, characters: 0 }
    this.#kept.set(name, kept)
    answer.then(
      ({ body }) => {
        if (this.#kept.get(name) !== kept) return
        kept.characters = body.length + lengthOf(facts)
        this.#characters += kept.characters
        this.#trim()
      },
      () => this.#drop(name),
    )
  }

  get size(): number {
    return this.#kept.size
  }

  #trim(): void {
    for (let oldest = this.#findOldest(); oldest !== undefined; oldest = this.#findOldest()) {
      const [name, { until }] = oldest
      const full = this.#characters > limits.characters || this.#kept.size > limits.count
      if (!full && until > this.#now()) return
      this.#drop(name)
    }
  }

  #findOldest(): [string, Kept] | undefined {
    while (this.#oldest === undefined || this.#kept.get(this.#oldest[0]) !== this.#oldest[1]) {
      this.#oldest = this.#walk.next().value
      if (this.#oldest !== undefined) continue
      // A walk that came to its end yields nothing any more, whatever is kept later.
      this.#walk = this.#kept.entries()
      if (this.#kept.size === 0) return undefined
    }
    return this.#oldest
  }

  #drop(name: string): void {
    this.#characters -= this.#kept.get(name)?.characters ?? 0
    this.#kept.delete(name)
  }
}

/** A phone may write a megabyte into any of these. */
function lengthOf(facts: FlowRequest): number {
  const version = 'version' in facts ? facts.version : null
  return [facts.action, facts.screen, facts.flowToken, version].reduce((sum, text) => sum + (text?.length ?? 0), 0)
}
