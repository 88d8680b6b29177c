import type { DeliveryHealth } from '../domain/delivery.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Database } from '../storage/database.ts'
import { type DeliveryWebhook, loadDeliveryWebhooks } from '../storage/delivery-webhooks.ts'
import type { SignedWebhook } from './signed-request.ts'
import { type Unsealer, webhookSigning } from './webhook-signing.ts'

/** A webhook that deliveries go to, and what signs for it. */
export interface KnownWebhook extends SignedWebhook {
  readonly workspaceId: WorkspaceId
  readonly active: boolean
  /** As last read or written. */
  health: DeliveryHealth
}

/** How long a webhook is used as it was read, ms: a change of another process is in force within a second (contract.md §8). */
const freshMs = 500
const mostKept = 5000

interface Kept {
  readonly webhook: KnownWebhook
  /** What was opened, by what it was opened from: it is not opened again while that is the same. */
  readonly sealed: string
  readonly readAt: number
}

/** The webhooks of deliveries. */
export class WebhookBook {
  readonly #database: Database
  readonly #unsealer: Unsealer
  readonly #kept = new Map<string, Kept>()
  #staleBefore = Number.NEGATIVE_INFINITY

  constructor(database: Database, unsealer: Unsealer) {
    this.#database = database
    this.#unsealer = unsealer
  }

  /** All are read anew before they are used again: one was changed. */
  refresh(): void {
    this.#staleBefore = performance.now()
  }

  /** By id; those that are gone are not in it. Throws StorageError. */
  async load(
    names: readonly { readonly workspaceId: WorkspaceId; readonly webhookId: string }[],
  ): Promise<Map<string, KnownWebhook>> {
    const now = performance.now()
    const isFresh = ({ readAt }: Kept) => readAt > now - freshMs && readAt > this.#staleBefore
    // Held here, not in what is kept: another load may clear that while this one reads.
    const known = new Map<string, KnownWebhook>()
    const stale = new Map<string, (typeof names)[number]>()
    for (const name of names) {
      const kept = this.#kept.get(name.webhookId)
      if (kept !== undefined && isFresh(kept)) known.set(name.webhookId, kept.webhook)
      else stale.set(name.webhookId, name)
    }
    const read = stale.size === 0 ? [] : await this.#read([...stale.values()], now)
    for (const webhook of read) known.set(webhook.id, webhook)
    return known
  }

  async #read(
    names: readonly { readonly workspaceId: WorkspaceId; readonly webhookId: string }[],
    readAt: number,
  ): Promise<KnownWebhook[]> {
    const found = await loadDeliveryWebhooks(this.#database.work, names)
    if (this.#kept.size > mostKept) this.#kept.clear()
    const before = new Map(names.map(({ webhookId }) => [webhookId, this.#kept.get(webhookId)]))
    for (const { webhookId } of names) this.#kept.delete(webhookId)
    return found.map((webhook) => {
      const kept = this.#keep(webhook, before.get(webhook.id), readAt)
      this.#kept.set(webhook.id, kept)
      return kept.webhook
    })
  }

  #keep(read: DeliveryWebhook, before: Kept | undefined, readAt: number): Kept {
    const { id, workspaceId, url, active, failingSince, failureWarnedAt, deliveriesDisabledAt } = read
    const sealed = [read.headersSealed, ...read.signingSecrets.map((secret) => secret.sealed)]
      .map((bytes) => bytes?.toString('base64'))
      .concat(read.signingSecrets.map(({ expiresAt }) => String(expiresAt?.getTime())))
      .join()
    const { headers, signingSecrets } =
      before?.sealed === sealed ? before.webhook : webhookSigning(read, workspaceId, this.#unsealer)
    const health = { failingSince, failureWarnedAt, deliveriesDisabledAt }
    return { webhook: { id, workspaceId, url, active, health, headers, signingSecrets }, sealed, readAt }
  }
}
