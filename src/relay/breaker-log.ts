import type { BreakerChange } from '../delivery/breaker.ts'
import type { GuardedWebhook } from '../delivery/gatekeeper.ts'
import type { Log } from '../ops/logger.ts'

/** Lines in `spanMs`: a tenant with a thousand dead webhooks must not fill the log. */
const mostLines = 20
const spanMs = 10_000

/**
 * One line when a breaker opens, one when it closes. That a probe failed is no news: it is one line in five seconds, and in the metrics. Beyond
 * 20 lines in 10 s they are only counted, and the next one says how many.
 */
export class BreakerLog {
  readonly #log: Log
  readonly #processName: string
  readonly #now: () => number
  #beganAt = Number.NEGATIVE_INFINITY
  #lines = 0
  #untold = 0

  /** `now`: monotonic, in ms. */
  constructor(log: Log, processName: string, now: () => number) {
    this.#log = log
    this.#processName = processName
    this.#now = now
  }

  tell({ webhookId, workspaceId }: GuardedWebhook, change: BreakerChange): void {
    if (change.to === 'half_open' || (change.to === 'open' && change.by === 'probe')) return
    if (!this.#hasRoom()) {
      this.#untold += 1
      return
    }
    const untold = this.#untold === 0 ? {} : { untold: this.#untold }
    this.#untold = 0
    const line = { webhookId, workspaceId, process: this.#processName, ...untold }
    if (change.to === 'open') {
      const { calls, failed } = change
      this.#log.warn({ ...line, calls, failed }, 'the breaker of a webhook opened')
    } else {
      const { by, refused, openMs } = change
      this.#log.info({ ...line, by, refused, openMs: Math.round(openMs) }, 'the breaker of a webhook closed')
    }
  }

  #hasRoom(): boolean {
    const now = this.#now()
    if (now - this.#beganAt >= spanMs) {
      this.#beganAt = now
      this.#lines = 0
    }
    this.#lines += 1
    return this.#lines <= mostLines
  }
}
