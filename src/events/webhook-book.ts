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
    const wanted = new Map(names.map((name) => [name.webhookId, name]))
    const isFresh = ({ readAt }: Kept) => readAt > now - freshMs && readAt > this.#staleBefore
    const stale = [...wanted.values()].filter(({ webhookId }) => {
      const kept = this.#kept.get(webhookId)
      return kept === undefined || !isFresh(kept)
    })
    if (stale.length > 0) await this.#read(stale, now)
    return new Map([...wanted.keys()].flatMap((id) => this.#entry(id)))
  }

  async #read(names: readonly { readonly workspaceId: WorkspaceId; readonly webhookId: string }[], readAt: number) {
    const found = await loadDeliveryWebhooks(this.#database.work, names)
    if (this.#kept.size > mostKept) this.#kept.clear()
    const before = new Map(names.map(({ webhookId }) => [webhookId, this.#kept.get(webhookId)]))
    for (const { webhookId } of names) this.#kept.delete(webhookId)
    for (const webhook of found) this.#kept.set(webhook.id, this.#keep(webhook, before.get(webhook.id), readAt))
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

  #entry(id: string): [string, KnownWebhook][] {
    const kept = this.#kept.get(id)
    return kept === undefined ? [] : [[id, kept.webhook]]
  }
}
