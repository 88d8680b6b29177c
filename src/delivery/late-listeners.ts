import { YoungMap } from '../ops/young.ts'

/** How long a reply is listened for after its deadline, ms. */
export const listenMs = 5000

const mostPerWebhook = 8

/** A request past its deadline whose reply is still waited for. */
export interface LateListener {
  /** Waits no longer; its request is destroyed. Gives its place back. */
  stop(): void
}

/**
 * Who listens for replies after the deadline: 8 at once for each webhook of this process, enough to measure how late it is. More
 * would let a webhook that hangs hold a connection for 5 s for each of its timeouts.
 */
export class LateListeners {
  readonly #byWebhook = new YoungMap<string, LateListener[]>()
  #isClosed = false

  /** Takes a place of the webhook; false: none is free. */
  take(webhookId: string, listener: LateListener): boolean {
    const listeners = this.#byWebhook.get(webhookId) ?? []
    if (this.#isClosed || listeners.length >= mostPerWebhook) return false
    listeners.push(listener)
    this.#byWebhook.set(webhookId, listeners)
    return true
  }

  /** Gives the place back. */
  leave(webhookId: string, listener: LateListener): void {
    const listeners = this.#byWebhook.get(webhookId)
    const at = listeners?.indexOf(listener) ?? -1
    if (at >= 0) listeners?.splice(at, 1)
    if (listeners?.length === 0) this.#byWebhook.delete(webhookId)
  }

  /** Stops all, and takes no more. */
  close(): void {
    this.#isClosed = true
    for (const listener of [...this.#byWebhook.values()].flat()) listener.stop()
  }
}
