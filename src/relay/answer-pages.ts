import type { FlowRequest } from '../domain/exchange.ts'

/** An answer of which no byte changes any more, and what its repetitions are recorded with. */
export interface KeptAnswer {
  /** HTTP status. */
  readonly status: number
  /** Base64, or empty. */
  readonly body: string
  readonly facts: FlowRequest
}

/** Records one after the other, in the order in which they were added. */
interface Page {
  readonly bytes: Buffer
  used: number
  count: number
  /** When its last record expires. */
  until: number
}

const pageBytes = 256 * 1024
/** What all pages may hold, bytes: some 50,000 answers of 350 characters. */
const limitBytes = 32 * 1024 * 1024
const bucketCount = 32_768

/** Where a record has what, bytes from its start: the bucket's record before it, when it expires, three lengths; then the texts. */
const at = { page: 0, offset: 4, until: 8, status: 16, name: 18, body: 20, facts: 24, texts: 28 }

/**
 * Answers of some minutes, outside V8's heap: as objects they would be most of what grows old with each exchange, and half of
 * what a collection has to walk (docs/adr/0009-what-dies-young.md). The oldest page goes when it has expired or more would not fit.
 */
export class AnswerPages {
  readonly #pages: Page[] = []
  /** The number of the first page. Pages are counted from 1, for ever; a link to one that has gone ends its bucket. */
  #first = 1
  /** For each bucket the page and offset of its newest record. */
  readonly #heads = new Uint32Array(bucketCount * 2)
  #spare: Buffer | undefined
  #bytes = 0

  get size(): number {
    return this.#pages.reduce((sum, { count }) => sum + count, 0)
  }

  /** `until` and `now`: monotonic milliseconds. An answer that alone is more than all may be is not kept. */
  add(name: string, { status, body, facts }: KeptAnswer, until: number, now: number): void {
    const factsText = JSON.stringify(facts)
    const factsBytes = Buffer.byteLength(factsText)
    const needed = at.texts + name.length + body.length + factsBytes
    while ((this.#pages[0]?.until ?? Number.POSITIVE_INFINITY) <= now) this.#dropFirst()
    if (needed > limitBytes) return
    const page = this.#pageWith(needed)
    const { bytes, used: start } = page
    const head = bucketOf(name) * 2
    bytes.writeUInt32LE(this.#heads[head] ?? 0, start + at.page)
    bytes.writeUInt32LE(this.#heads[head + 1] ?? 0, start + at.offset)
    bytes.writeDoubleLE(until, start + at.until)
    bytes.writeUInt16LE(status, start + at.status)
    bytes.writeUInt16LE(name.length, start + at.name)
    bytes.writeUInt32LE(body.length, start + at.body)
    bytes.writeUInt32LE(factsBytes, start + at.facts)
    bytes.write(name, start + at.texts, 'latin1')
    bytes.write(body, start + at.texts + name.length, 'latin1')
    bytes.write(factsText, start + at.texts + name.length + body.length, 'utf8')
    this.#heads[head] = this.#first + this.#pages.length - 1
    this.#heads[head + 1] = start
    page.used += needed
    page.count++
    page.until = Math.max(page.until, until)
  }

  /** The newest of that name, if it has not expired. */
  find(name: string, now: number): KeptAnswer | null {
    const head = bucketOf(name) * 2
    let [number, start] = [this.#heads[head] ?? 0, this.#heads[head + 1] ?? 0]
    for (let page = this.#pages[number - this.#first]; page !== undefined; page = this.#pages[number - this.#first]) {
      const { bytes } = page
      const textsAt = start + at.texts
      const bodyAt = textsAt + bytes.readUInt16LE(start + at.name)
      if (bytes.toString('latin1', textsAt, bodyAt) === name) {
        if (bytes.readDoubleLE(start + at.until) <= now) return null
        const factsAt = bodyAt + bytes.readUInt32LE(start + at.body)
        const factsEnd = factsAt + bytes.readUInt32LE(start + at.facts)
        const facts = JSON.parse(bytes.toString('utf8', factsAt, factsEnd)) as FlowRequest
        return { status: bytes.readUInt16LE(start + at.status), body: bytes.toString('latin1', bodyAt, factsAt), facts }
      }
      ;[number, start] = [bytes.readUInt32LE(start + at.page), bytes.readUInt32LE(start + at.offset)]
    }
    return null
  }

  #pageWith(needed: number): Page {
    const last = this.#pages.at(-1)
    if (last !== undefined && last.used + needed <= last.bytes.length) return last
    const size = Math.max(pageBytes, needed)
    while (this.#bytes + size > limitBytes) this.#dropFirst()
    const bytes = size === pageBytes ? (this.#spare ?? Buffer.allocUnsafeSlow(size)) : Buffer.allocUnsafeSlow(size)
    if (bytes === this.#spare) this.#spare = undefined
    const page = { bytes, used: 0, count: 0, until: 0 }
    this.#pages.push(page)
    this.#bytes += size
    return page
  }

  #dropFirst(): void {
    const page = this.#pages.shift()
    if (page === undefined) return
    this.#first++
    this.#bytes -= page.bytes.length
    if (page.bytes.length === pageBytes) this.#spare = page.bytes
  }
}

/** FNV-1a of the first eight characters; a name is a digest, so that these say enough. */
function bucketOf(name: string): number {
  let hash = 0x811c9dc5
  for (let position = 0; position < 8; position++) hash = Math.imul(hash ^ name.charCodeAt(position), 0x01000193)
  return (hash >>> 8) % bucketCount
}
