/**
 * Entries added after which a table is made anew: 0.8 s at 640 exchanges a second. V8 calls old what lived through two young collections, or
 * through one of everything.
 */
const renewedEvery = 512

/**
 * A Map of what comes and goes with each exchange. V8 writes the table of a map that is old anew into the old generation, and what an abandoned
 * table holds stays with it: docs/adr/0009-what-dies-young.md. This one is made anew before it grows old, and soon after a collection of everything.
 */
export class YoungMap<K, V> {
  #map = new Map<K, V>()
  #added = 0

  get size(): number {
    return this.#map.size
  }

  get(name: K): V | undefined {
    return this.#map.get(name)
  }

  has(name: K): boolean {
    return this.#map.has(name)
  }

  set(name: K, value: V): void {
    if (++this.#added % renewedEvery === 0) this.#map = new Map(this.#map)
    this.#map.set(name, value)
  }

  delete(name: K): boolean {
    return this.#map.delete(name)
  }

  values(): MapIterator<V> {
    return this.#map.values()
  }

  /** In the order of insertion. What is set meanwhile may or may not come. */
  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.#map.entries()
  }
}

/** A Set likewise. */
export class YoungSet<T> {
  readonly #members = new YoungMap<T, true>()

  add(member: T): void {
    this.#members.set(member, true)
  }

  delete(member: T): boolean {
    return this.#members.delete(member)
  }

  *[Symbol.iterator](): Generator<T> {
    for (const [member] of this.#members) yield member
  }
}
