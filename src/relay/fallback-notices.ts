import type { NewDelivery } from '../storage/deliveries.ts'

/** Between two notices to one webhook, ms: contract.md §4. */
const everyMs = 1000

interface Told {
  /** Fallbacks since the last notice. */
  count: number
  /** Makes the notice of the last of them. */
  last: (count: number) => NewDelivery[]
  readonly timer: NodeJS.Timeout
}

/**
 * Notices of fallbacks, at most one a second to a webhook: the first at once, with its exchange's row; what comes within the second after
 * is told of together at its end, by its last and how many there were. A process that is killed takes that count with it: the
 * exchanges are in the log.
 */
export class FallbackNotices {
  readonly #webhooks = new Map<string, Told>()
  readonly #tell: (deliveries: readonly NewDelivery[]) => void

  constructor(tell: (deliveries: readonly NewDelivery[]) => void) {
    this.#tell = tell
  }

  /** The notice to be written now, or null: it will be told of later. `make` gets how many fallbacks the notice stands for. */
  add(webhookId: string, make: (count: number) => NewDelivery[]): NewDelivery[] | null {
    const told = this.#webhooks.get(webhookId)
    if (told === undefined) {
      this.#wait(webhookId, make)
      return make(1)
    }
    told.count++
    told.last = make
    return null
  }

  /** Tells of what was held back. */
  flush(): void {
    for (const webhookId of [...this.#webhooks.keys()]) this.#end(webhookId)
    for (const { timer } of this.#webhooks.values()) clearTimeout(timer)
    this.#webhooks.clear()
  }

  #wait(webhookId: string, last: (count: number) => NewDelivery[]): void {
    const timer = setTimeout(() => this.#end(webhookId), everyMs).unref()
    this.#webhooks.set(webhookId, { count: 0, last, timer })
  }

  #end(webhookId: string): void {
    const told = this.#webhooks.get(webhookId)
    if (told === undefined) return
    clearTimeout(told.timer)
    this.#webhooks.delete(webhookId)
    if (told.count === 0) return
    this.#wait(webhookId, told.last)
    this.#tell(told.last(told.count))
  }
}
