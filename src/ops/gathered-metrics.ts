import { Counter, Registry } from 'prom-client'
import { addLasting, type MetricsSnapshot } from './merged-metrics.ts'
import { processRestarts } from './metric-catalogue.ts'

/** How long one process may take to tell of its metrics, ms. Past it, what it told last counts. */
const takeMs = 1000

/** The metrics of several processes, and of those that are gone. `Source`: what a process is known by. */
export class GatheredMetrics<Source extends object> {
  readonly #ask: (source: Source, id: number) => void
  readonly #takeMs: number
  readonly #last = new Map<Source, MetricsSnapshot>()
  readonly #waiting = new Map<number, { readonly source: Source; readonly done: () => void }>()
  readonly #own = new Registry()
  readonly #restarts = new Counter({
    name: processRestarts.name,
    help: processRestarts.help,
    registers: [this.#own],
  })
  #gone: Promise<MetricsSnapshot> = Promise.resolve([])
  #asked = 0

  /** `ask` has a process call {@link took} with this id. */
  constructor(ask: (source: Source, id: number) => void, within = takeMs) {
    this.#ask = ask
    this.#takeMs = within
  }

  restarted(): void {
    this.#restarts.inc()
  }

  add(source: Source): void {
    this.#last.set(source, [])
  }

  took(source: Source, id: number, snapshot: MetricsSnapshot): void {
    if (this.#last.has(source)) this.#last.set(source, snapshot)
    this.#finish(id)
  }

  /** What it counted since it last told is lost. */
  remove(source: Source): void {
    const last = this.#last.get(source) ?? []
    this.#last.delete(source)
    this.#gone = this.#gone.then((gone) => addLasting(gone, last))
    for (const [id, waiting] of this.#waiting) if (waiting.source === source) this.#finish(id)
  }

  async gather(): Promise<MetricsSnapshot[]> {
    await Promise.all([...this.#last.keys()].map((source) => this.#take(source)))
    const own = await this.#own.getMetricsAsJSON()
    return [own, await this.#gone, ...this.#last.values()]
  }

  async #take(source: Source): Promise<void> {
    const id = ++this.#asked
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.set(id, { source, done: resolve })
    const timer = setTimeout(() => this.#finish(id), this.#takeMs)
    this.#ask(source, id)
    await promise
    clearTimeout(timer)
  }

  #finish(id: number): void {
    this.#waiting.get(id)?.done()
    this.#waiting.delete(id)
  }
}
