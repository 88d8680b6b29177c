/** One timer for the earliest of many times. It keeps no process alive. */
export class Alarm {
  readonly #ring: () => void
  #set: { readonly at: number; readonly timer: NodeJS.Timeout } | null = null

  constructor(ring: () => void) {
    this.#ring = ring
  }

  /** Rings at this `performance.now()`, unless it rings before. */
  setFor(at: number): void {
    if (this.#set !== null && this.#set.at <= at) return
    this.clear()
    const timer = setTimeout(() => this.#rings(), Math.max(1, at - performance.now()))
    timer.unref()
    this.#set = { at, timer }
  }

  clear(): void {
    if (this.#set !== null) clearTimeout(this.#set.timer)
    this.#set = null
  }

  #rings(): void {
    this.#set = null
    this.#ring()
  }
}
