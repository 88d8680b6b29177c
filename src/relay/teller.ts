import type { Notice } from '../domain/events.ts'
import { subscribersOf } from '../domain/webhook.ts'
import { type Announcement, deliveriesTo, enqueue } from '../events/announcement.ts'
import type { Backlog } from '../events/backlog.ts'
import type { Queue } from '../events/queue.ts'
import type { SqlTransaction } from '../storage/database.ts'
import { inParts } from './delivery-parts.ts'
import type { Account } from './directory.ts'

/** A notice to those of the account's webhooks that subscribed to it. */
export interface Telling {
  readonly account: Account
  readonly announcement: Announcement & { readonly event: Notice }
}

/** Tells webhooks of what a transaction writes, in that transaction. */
export class Teller {
  readonly #queue: Queue
  readonly #backlog: Backlog

  constructor(queue: Queue, backlog: Backlog) {
    this.#queue = queue
    this.#backlog = backlog
  }

  /** To be awaited before a transaction is begun. Throws what the driver throws. */
  ready(): Promise<void> {
    return this.#queue.ready()
  }

  async tell(tx: SqlTransaction, tellings: readonly Telling[]): Promise<void> {
    const deliveries = tellings.flatMap(({ account, announcement }) => {
      const subscribers = subscribersOf(account.webhooks, announcement.event, announcement.flowId)
      return deliveriesTo(subscribers, announcement, this.#backlog)
    })
    for (const part of inParts(deliveries)) await enqueue({ queue: this.#queue, backlog: this.#backlog }, tx, part)
  }
}
