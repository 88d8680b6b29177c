import { sendAttempt } from '../delivery/attempt.ts'
import { createDispatchers } from '../egress/dispatcher.ts'
import { DeliveryWorker, type HeldDeliveries } from '../events/delivery-worker.ts'
import { WebhookBook } from '../events/webhook-book.ts'
import { createJobs } from '../maintenance/jobs.ts'
import { Maintenance } from '../maintenance/maintenance.ts'
import type { NewDelivery } from '../storage/deliveries.ts'
import type { Core } from './core.ts'

/** Who makes the attempts of deliveries that this process writes. */
export interface Attempts {
  hold(deliveries: readonly NewDelivery[]): HeldDeliveries
  wake(): void
}

/** A worker in another process does: all deliveries wait in the queue, due at once. */
export const attemptsElsewhere: Attempts = {
  hold: () => ({ ids: new Set(), start: () => undefined, release: () => undefined }),
  wake: () => undefined,
}

/** Role `worker`: asynchronous deliveries, and what one process does for all. */
export interface WorkerPart {
  readonly attempts: Attempts
  /** A webhook was changed. */
  webhooksChanged(): void
  start(): void
  /** Lets attempts end for `graceMs`, gives the rest back. */
  close(graceMs: number): Promise<void>
}

export function createWorkerPart(core: Core): WorkerPart {
  const { config, database, queue, backlog, unsealer, line, log, metrics, traces } = core
  const webhooks = new WebhookBook(database, unsealer)
  const dispatchers = createDispatchers(core.egress)
  const attempts = new DeliveryWorker({
    database,
    queue,
    webhooks,
    isLong: (webhookId) => backlog.isLong(webhookId),
    attempt: (request) => sendAttempt(dispatchers, request),
    interrupt: () => dispatchers.interrupt(),
    room: () => line.roomForDeliveries(),
    userAgent: config.WEBHOOK_USER_AGENT,
    log,
    metrics,
    traces,
  })
  const maintenance = new Maintenance({ database, log, jobs: createJobs(core.keeping) })
  return {
    attempts,
    webhooksChanged: () => webhooks.refresh(),
    start() {
      attempts.start()
      maintenance.start()
    },
    async close(graceMs) {
      await Promise.all([attempts.close(graceMs), maintenance.close()])
      await dispatchers.close()
    },
  }
}
