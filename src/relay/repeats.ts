import { randomBytes } from 'node:crypto'
import { sha256 } from '../crypto/digest.ts'
import type { SealedRequest } from '../crypto/flow-cipher.ts'
import { type FlowRequest, withoutContents } from '../domain/exchange.ts'
import { YoungMap } from '../ops/young.ts'
import { AnswerPages } from './answer-pages.ts'

/** How long a call's answer is kept for a repetition, ms: contract.md §3. */
const keptMs = 10 * 60 * 1000

/** Names are a process's own: else whoever can sign calls could choose many that fall into one place of the table, and be looked for one by one. */
const ownPrefix = randomBytes(16)

/** What goes back to Meta: a status and base64 text, or an empty body. */
export interface MetaAnswer {
  readonly status: number
  readonly body: string
}

/** The first call of a name: its answer, which may be still to come, and what its repetitions are recorded with. */
export interface Earlier {
  readonly answer: Promise<MetaAnswer>
  readonly facts: FlowRequest
}

/**
 * The answers of the last ten minutes by the exact ciphertext they answered. The same ciphertext must get the same bytes:
 * another answer under the same AES key and inverted IV would be GCM nonce reuse.
 */
export class Repeats {
  readonly #toCome = new YoungMap<string, Earlier>()
  readonly #kept = new AnswerPages()
  readonly #now: () => number

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** The name of a call's three strings, within one WABA: another WABA's keys must open it themselves. */
  static nameOf(wabaId: string, { encryptedAesKey, initialVector, encryptedFlowData }: SealedRequest): string {
    const lengths = `${wabaId} ${encryptedAesKey.length} ${initialVector.length} `
    return sha256(
      Buffer.concat([ownPrefix, Buffer.from(lengths), encryptedAesKey, initialVector, encryptedFlowData]),
    ).toString('base64')
  }

  find(name: string): Earlier | null {
    const toCome = this.#toCome.get(name)
    if (toCome !== undefined) return toCome
    const kept = this.#kept.find(name, this.#now())
    if (kept === null) return null
    const { status, body, facts } = kept
    return { answer: Promise.resolve({ status, body }), facts }
  }

  /** Keeps the answer to come. Whoever finds it is handed the request's facts, without its contents: these can be a megabyte. */
  keep(name: string, answer: Promise<MetaAnswer>, request: FlowRequest): void {
    const earlier = { answer, facts: withoutContents(request) }
    const until = this.#now() + keptMs
    this.#toCome.set(name, earlier)
    const isStillIts = () => this.#toCome.get(name) === earlier
    answer.then(
      ({ status, body }) => {
        if (!isStillIts()) return
        this.#toCome.delete(name)
        this.#kept.add(name, { status, body, facts: earlier.facts }, until, this.#now())
      },
      () => isStillIts() && this.#toCome.delete(name),
    )
  }

  /** Answers to come among them. */
  get size(): number {
    return this.#toCome.size + this.#kept.size
  }
}
