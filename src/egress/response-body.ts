/** What a chunk weighs at least: one byte costs as much as many, and 256 KiB could come in as many pieces. */
const leastWeight = 16

const nothing = Buffer.alloc(0)

/**
 * A response's body as it comes, in memory of its own: a chunk is a view of all that was read from the socket with it, up to 64 KiB for one byte, and keeping it
 * would keep that.
 */
export class ResponseBody {
  #bytes: Buffer = nothing
  #length = 0
  #weight = 0

  /** Judges a body that is kept or not: bytes, and no fewer than 16 for each chunk. */
  get weight(): number {
    return this.#weight
  }

  /** What was added. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Counts a chunk that is not kept. */
  pass(chunk: Buffer): void {
    this.#weight += Math.max(chunk.length, leastWeight)
  }

  add(chunk: Buffer): void {
    this.pass(chunk)
    const length = this.#length + chunk.length
    if (length > this.#bytes.length) this.#grow(length)
    chunk.copy(this.#bytes, this.#length)
    this.#length = length
  }

  /** The first chunk is mostly the only one. */
  #grow(length: number): void {
    const grown = Buffer.allocUnsafe(this.#length === 0 ? length : Math.max(length, 2 * this.#bytes.length))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}
