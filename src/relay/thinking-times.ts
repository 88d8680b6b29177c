import type { RelayWebhook } from './directory.ts'

/** How long webhooks take lately, ms, whatever came of it. */
export class ThinkingTimes {
  /** Of a webhook that was changed nothing is known. */
  readonly #times = new WeakMap<RelayWebhook, number>()

  /** 0: it was not asked yet. */
  of(webhook: RelayWebhook): number {
    return this.#times.get(webhook) ?? 0
  }

  /** The last calls count most: each an eighth. */
  add(webhook: RelayWebhook, ms: number): void {
    const before = this.#times.get(webhook) ?? ms
    this.#times.set(webhook, before + (ms - before) / 8)
  }
}
