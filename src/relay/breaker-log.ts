import type { BreakerChange } from '../delivery/breaker.ts'
import type { GuardedWebhook } from '../delivery/gatekeeper.ts'
import type { Log } from '../ops/logger.ts'
import { PacedLines } from '../ops/paced-lines.ts'

/**
 * One line when a breaker opens, one when it closes, paced: a tenant may have a thousand dead webhooks. That a probe failed is no news: it is one
 * line in five seconds, and in the metrics.
 */
export class BreakerLog {
  readonly #log: Log
  readonly #processName: string
  readonly #lines: PacedLines

  /** `now`: monotonic, in ms. */
  constructor(log: Log, processName: string, now: () => number) {
    this.#log = log
    this.#processName = processName
    this.#lines = new PacedLines(now)
  }

  tell({ webhookId, workspaceId }: GuardedWebhook, change: BreakerChange): void {
    if (change.to === 'half_open' || (change.to === 'open' && change.by === 'probe')) return
    const untold = this.#lines.take()
    if (untold === null) return
    const line = { webhookId, workspaceId, process: this.#processName, ...untold }
    if (change.to === 'open') {
      const { calls, failed } = change
      this.#log.warn({ ...line, calls, failed }, 'the breaker of a webhook opened')
    } else {
      const { by, refused, openMs } = change
      this.#log.info({ ...line, by, refused, openMs: Math.round(openMs) }, 'the breaker of a webhook closed')
    }
  }
}
