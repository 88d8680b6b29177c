import type { RelayWebhook } from './directory.ts'

/** What is longer says no more, and must not be remembered for long: one call that hangs among a hundred that are quick. */
const longestMs = 30

/** How long webhooks take lately, ms, whatever came of it. */
export class WebhookTimes {
  /** Of a webhook that was changed nothing is known. */
  readonly #times = new WeakMap<RelayWebhook, number>()

  /** 0: it was not asked yet. */
  of(webhook: RelayWebhook): number {
    return this.#times.get(webhook) ?? 0
  }

  /** The last calls count most: each an eighth. */
  add(webhook: RelayWebhook, ms: number): void {
    const taken = Math.min(ms, longestMs)
    const before = this.#times.get(webhook) ?? taken
    this.#times.set(webhook, before + (taken - before) / 8)
  }
}
