import { equalBytes, sha256 } from '../crypto/digest.ts'
import { hasSignatureForm } from '../crypto/meta-signature.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { decodeUtf8 } from '../domain/json.ts'
import { readMetaEntries } from '../domain/meta-webhook.ts'
import type { Log } from '../ops/logger.ts'
import type { MetaEntryDrop, Metrics } from '../ops/metrics.ts'
import { PacedLines } from '../ops/paced-lines.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { Admission, type AdmissionRules } from './meta-admission.ts'
import type { MetaEvents } from './meta-events.ts'
import type { AdmittedEntry } from './meta-told.ts'

export interface MetaWebhookParts extends AdmissionRules {
  /** For the platform's own app; unset: its verification is refused. */
  readonly verifyToken: string | undefined
  readonly events: MetaEvents
  readonly database: Database
  readonly metrics: Metrics
  readonly log: Log
}

/** One POST of Meta, as received. */
export interface MetaPost {
  /** Named by the route of a tenant's own Meta app: whose `verifyToken` Meta sends, and that of a WABA of the app. Null: the platform's. */
  readonly wabaId: string | null
  readonly body: Buffer
  readonly signature: string | undefined
}

export interface MetaWebhookAnswer {
  readonly status: number
  readonly body: string
}

/** Bodies that are being applied may hold so much memory, together; past it Meta is to come again. */
export const mostBytesUnderWay = 64 * 1024 * 1024

/** Of that those of one workspace: its tenant can sign bodies as fast as it likes. */
export const mostBytesOfWorkspace = 8 * 1024 * 1024

const answer = (status: number): MetaWebhookAnswer => ({ status, body: '' })

/** What Meta tells us beside exchanges (contract.md §5, protocol.md 5). Never throws, never rejects. */
export class MetaWebhook {
  readonly #parts: MetaWebhookParts
  /** Anybody can have a body refused, and any tenant an entry dropped, as often as they like. */
  readonly #dropLines = new PacedLines(() => performance.now())
  #bytesUnderWay = 0
  readonly #bytesOf = new Map<WorkspaceId, number>()

  constructor(parts: MetaWebhookParts) {
    this.#parts = parts
  }

  /** Meta's question whether this address is ours: the challenge, else 403 (protocol.md 5.1). */
  verification(wabaId: string | null, query: Readonly<Record<string, unknown>>): MetaWebhookAnswer {
    const { directory, verifyToken } = this.#parts
    if (wabaId !== null && !directory.loaded) return answer(503)
    const expected = wabaId === null ? verifyToken : directory.waba(wabaId)?.verifyToken()
    const { 'hub.mode': mode, 'hub.verify_token': given, 'hub.challenge': challenge } = query
    if (!expected || typeof given !== 'string' || typeof challenge !== 'string') return answer(403)
    // Digests have one length, so that the comparison tells nothing of the token's.
    if (mode !== 'subscribe' || !equalBytes(sha256(given), sha256(expected))) return answer(403)
    return { status: 200, body: challenge }
  }

  /** 200 once all that the signature covers is committed. Any other status has Meta come again, for 7 days (protocol.md 5.2). */
  async receive(post: MetaPost): Promise<MetaWebhookAnswer> {
    if (!this.#parts.directory.loaded || this.#bytesUnderWay + post.body.length > mostBytesUnderWay) return answer(503)
    this.#bytesUnderWay += post.body.length
    try {
      return answer(await this.#apply(post))
    } catch (error) {
      if (error instanceof StorageError && error.unavailable) this.#parts.database.renew()
      this.#parts.log.error({ error }, "Meta's events were not written: it will repeat them")
      return answer(503)
    } finally {
      this.#bytesUnderWay -= post.body.length
    }
  }

  async #apply({ wabaId, body, signature }: MetaPost): Promise<number> {
    const { directory, signatureRequired } = this.#parts
    // Not worth parsing: nothing can fit.
    if (signatureRequired && !hasSignatureForm(signature)) return 401
    if (wabaId !== null && directory.waba(wabaId) === null) return this.#refuse(['unknown_waba'])
    const admission = new Admission(this.#parts, body, signature)
    const drops: MetaEntryDrop[] = []
    const text = decodeUtf8(body)
    const entries = text === null ? null : readMetaEntries(text)
    // What cannot be read names no WABA: whoever has signed it with none of ours is told no more than that.
    if (entries === null) return this.#isOurs(admission, wabaId) ? 400 : 401
    const admitted: AdmittedEntry[] = []
    for (const entry of entries) {
      // Whatever the route names: one app has one address for all its WABAs (protocol.md 5.2).
      const account = admission.of(entry.wabaId)
      if (typeof account === 'string') drops.push(account)
      else admitted.push({ account, entry })
    }
    if (admitted.length === 0) return this.#refuse(drops)
    const holders = holdersOf(admission, admitted)
    const isOver = holders.some((id) => (this.#bytesOf.get(id) ?? 0) + body.length > mostBytesOfWorkspace)
    if (isOver) return 503
    this.#count(drops)
    this.#hold(holders, body.length)
    try {
      await this.#parts.events.apply(admitted)
    } finally {
      this.#hold(holders, -body.length)
    }
    if (drops.length > 0)
      this.#tell({ dropped: drops.length, entries: entries.length }, "entries of Meta's were dropped")
    return 200
  }

  #hold(holders: readonly WorkspaceId[], bytes: number): void {
    for (const id of holders) {
      const held = (this.#bytesOf.get(id) ?? 0) + bytes
      if (held === 0) this.#bytesOf.delete(id)
      else this.#bytesOf.set(id, held)
    }
  }

  #isOurs(admission: Admission, wabaId: string | null): boolean {
    if (admission.isByPlatform || !this.#parts.signatureRequired) return true
    return wabaId !== null && typeof admission.of(wabaId) !== 'string'
  }

  #refuse(drops: readonly MetaEntryDrop[]): 401 {
    this.#count(drops)
    this.#tell({ reason: drops[0] ?? 'empty', entries: drops.length }, "a body of Meta's webhook was refused")
    return 401
  }

  #tell(facts: object, message: string): void {
    const paced = this.#dropLines.take()
    if (paced !== null) this.#parts.log.info({ ...facts, ...paced }, message)
  }

  #count(drops: readonly MetaEntryDrop[]): void {
    for (const [reason, same] of Map.groupBy(drops, (drop) => drop)) {
      this.#parts.metrics.metaEntriesDropped(reason, same.length)
    }
  }
}

/** Whose share a body counts for. Of several workspaces the platform's app tells in one, and none of them is to hold up the others. */
function holdersOf({ isByPlatform }: Admission, admitted: readonly AdmittedEntry[]): WorkspaceId[] {
  const workspaceIds = new Set(admitted.map(({ account }) => account.workspaceId))
  return isByPlatform && workspaceIds.size > 1 ? [] : [...workspaceIds]
}
