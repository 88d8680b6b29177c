import { ApiError } from '../domain/errors.ts'

/** Keys that are remembered to have been good. The one used longest ago is forgotten first. */
const mostKnown = 20_000

export interface Asker {
  /** Digest of the key, as text. */
  readonly digest: string
  readonly address: string
  /** How many more requests of the address are served in this second. */
  readonly left: () => Promise<number>
}

/**
 * Bounds what guesses at keys cost the database. A key that was good when this process last saw it is looked up whenever it comes, as it
 * may have been revoked; any other only while its address has requests left, those being looked up counted. Not by the address alone:
 * behind a proxy all callers have the same.
 */
export class KeyLookups {
  readonly #known = new Set<string>()
  readonly #underWay = new Map<string, number>()

  /** Runs `find`, which gives null for a key that is none. Throws ApiError `rate_limited`. */
  async run<Found>(asker: Asker, find: () => Promise<Found | null>): Promise<Found | null> {
    const { digest } = asker
    const found = this.#known.has(digest) ? await find() : await this.#runUnknown(asker, find)
    this.#known.delete(digest)
    if (found === null) return null
    this.#known.add(digest)
    if (this.#known.size > mostKnown) for (const oldest of this.#known.values().take(1)) this.#known.delete(oldest)
    return found
  }

  async #runUnknown<Found>({ address, left }: Asker, find: () => Promise<Found | null>): Promise<Found | null> {
    const remaining = await left()
    const underWay = this.#underWay.get(address) ?? 0
    if (underWay >= remaining) throw new ApiError('rate_limited', 'too many requests with keys that are not known')
    this.#underWay.set(address, underWay + 1)
    try {
      return await find()
    } finally {
      const others = (this.#underWay.get(address) ?? 1) - 1
      if (others > 0) this.#underWay.set(address, others)
      else this.#underWay.delete(address)
    }
  }
}
